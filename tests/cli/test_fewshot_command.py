"""The command `fewshot`, as a user types it, on a small folder of images."""

import json
from importlib.metadata import version

import numpy as np
import pytest
import torch
from PIL import Image

from fewshot.cli import data, leaderboard
from fewshot.leaderboard.table import read
from fewshot.training.checkpoint import load_weights

from .conftest import TRAIN_ONLY, only_run


def test_one_command_leaves_a_row_and_all_that_stands_behind_it(fewshot, tmp_path, capsys):
    assert fewshot() == 0
    folder = only_run(tmp_path)
    names = {p.name for p in folder.iterdir()}
    assert names == {
        "config.yaml", "metrics.csv", "best.safetensors", "last.safetensors", "checkpoint.safetensors", "tensorboard",
        "curve.png", "episode.png", "test_accuracies.npy", "row.json",
    }  # fmt: skip
    frame = read("leaderboard.csv")
    row = frame.iloc[0]
    accuracies = np.load(folder / "test_accuracies.npy", allow_pickle=False)
    assert len(accuracies) == row.episodes == 50
    assert row.accuracy == pytest.approx(100 * accuracies.mean())
    assert (row.data, row.way, row.shot, row.query, row["head"]) == ("folder", 5, "1", 3, "prototype")
    assert row.backbone == "conv4(width=8)"
    assert row.train_protocol == "5-way 1-shot 3-query"
    assert len(row.episodes_sha256) == len(row.bank_fingerprint) == len(row.config_hash) == 64
    assert json.loads((folder / "row.json").read_text())["accuracy"] == row.accuracy
    out = capsys.readouterr().out
    assert "meta-test" in out
    assert "leaderboard.csv" in out
    with Image.open(folder / "episode.png") as picture:
        assert picture.size[0] > 300


def test_the_same_command_gives_the_same_number_and_another_seed_the_same_episodes(fewshot, tmp_path):
    assert [fewshot(), fewshot(), fewshot("seed=1")] == [0, 0, 0]
    frame = read("leaderboard.csv")
    assert frame.accuracy[0] == frame.accuracy[1]
    assert frame.config_hash[0] == frame.config_hash[1] != frame.config_hash[2]
    assert frame.run.nunique() == 3
    assert frame.episodes_sha256.nunique() == 1


def test_a_checkpoint_is_tested_as_it_was_trained_with_what_is_typed_on_top(fewshot, tmp_path):
    fewshot("mode=train", "head.distance=cosine", "head.temperature=0.1")
    assert not (tmp_path / "leaderboard.csv").exists()
    weights = only_run(tmp_path) / "best.safetensors"
    assert fewshot("mode=test", f"checkpoint={weights}", "episodes.test.shot=2", "name=again", without=TRAIN_ONLY) == 0
    assert fewshot("mode=test", f"checkpoint={weights}", "head.distance=euclidean", without=TRAIN_ONLY) == 0
    rows = read("leaderboard.csv")
    assert rows["head"].tolist() == ["prototype(distance=cosine, temperature=0.1)", "prototype(temperature=0.1)"]
    assert rows.shot.tolist() == ["2", "1"]
    assert rows.train_protocol.tolist() == ["5-way 1-shot 3-query"] * 2
    assert rows.name[0] == "again"
    # The learner that was tested has the weights of the file.
    facts = load_weights(weights)[1]
    assert facts["config"]["head"]["distance"] == "cosine"


def test_tests_neither_stand_in_the_way_of_resuming_nor_tell_tales_of_training(fewshot, tmp_path, capfd):
    fewshot("mode=train", "trainer.precision=bf16")
    trained = only_run(tmp_path)
    test = ("mode=test", f"checkpoint={trained / 'best.safetensors'}")
    assert fewshot(*test, without=TRAIN_ONLY) == 0
    other = fewshot(*test[:1], f"checkpoint={trained / 'last.safetensors'}", without=TRAIN_ONLY)
    assert other == 0
    rows = read("leaderboard.csv")
    assert rows.precision.tolist() == ["bf16", "bf16"]
    assert rows.run.nunique() == rows.config_hash.nunique() == 2
    # The training goes on to its own test in its own folder.
    assert fewshot("resume=true", "trainer.precision=bf16") == 0
    assert (trained / "row.json").is_file()
    capfd.readouterr()
    of_steps = ("+learner.first_order=true", "+learner.steps=9", "+learner.multi_step=5", "+learner.batch_size=3")
    for key in ("seed=7", "loss.label_smoothing=0.1", "optimizer=sgd", "episodes.train.way=3", *of_steps):
        assert fewshot(*test, key, without=TRAIN_ONLY) == 2
        assert "belongs to training" in capfd.readouterr().err
    assert len(read("leaderboard.csv")) == 3


def test_classes_that_training_has_seen_are_refused(fewshot, tmp_path, images, capfd):
    mixed = tmp_path / "mixed"
    for split, source in (("train", "train"), ("test", "train")):
        (mixed / split).parent.mkdir(exist_ok=True)
        (mixed / split).symlink_to(images / source)
    assert fewshot("data.root=mixed") == 2
    assert "7 of the classes of folder/train are in folder/test too, such as 'train0'" in capfd.readouterr().err


def test_resuming_what_is_finished_does_nothing_again(fewshot, tmp_path, capsys):
    fewshot()
    assert fewshot("resume=true") == 0
    assert "already finished" in capsys.readouterr().out
    assert len(read("leaderboard.csv")) == 1


def test_a_sweep_makes_a_row_for_each(fewshot, tmp_path):
    assert fewshot("seed=0,1", "episodes.train.episodes=5", flags=("-m",)) == 0
    assert read("leaderboard.csv").seed.tolist() == [0, 1]


def test_pixels_need_no_training(fewshot, tmp_path):
    assert fewshot("backbone=pixels", without=("backbone.width=8",)) == 0
    row = read("leaderboard.csv").iloc[0]
    assert (row.backbone, row.train_protocol) == ("pixels", "")
    assert row.accuracy > 30


BAD = [
    (["training.tasks_per_step=3"], "episodes=20 of training is no multiple"),
    (["loss.label_smoothing=2.0"], "loss.label_smoothing=2"),
    (["schedule.every=0"], "schedule.every=0"),
    (["data.size=8"], "images of 8 pixels vanish"),
    (["trainer.threads=0"], "trainer.threads=0"),
    (["seed=99999999999999999999999"], "below 2^63"),
    (["mode=test", "checkpoint=x", "resume=true"], "mode=test has nothing to resume"),
    (["leaderboard=/proc/l.csv"], "cannot write /proc/l.csv"),
    (["heads=x"], "heads"),
    (["head=nothing"], "head=nothing is no choice; expected one of"),
    (["head=prototyp"], "head=prototyp is no choice; did you mean prototype?"),
    (["experiment=nothing"], "expected one of debug, cifar_fs/prototypical_5w1s"),
    (["experiment=omniglot/maml_5w"], "experiment=omniglot/maml_5w is no choice; did you mean omniglot/maml_5w"),
    (["3"], "'3' is no override; expected key=value"),
    (["head=[1"], "'head=[1' is no override; expected key=value"),
    (["head=ridge", "head.regularisation=inf"], "head.regularisation=inf; expected a finite number"),
    (["heads=[{head: tim, temperature: nan}]"], "heads.0.temperature=nan; expected a finite number"),
    (["head=tim", "head.temprature=2"], "unknown key head.temprature; did you mean head.temperature"),
    (["task_augmentation=mlti", "task_augmentation.leves=2"], "did you mean task_augmentation.levels"),
    (["head._target_=len"], "head"),
    (
        ["augment=null"],
        "augment=null: a group takes the name of a choice, such as augment=none; fewshot --help lists them",
    ),
    (["head=matching,ridge", "augment=null", "-m"], "error: augment=null: a group takes"),
    (["learner=hybrid_consistency", "augment@learner.strong=1"], "error: augment@learner.strong=1: a group takes"),
    (["head=[1]"], "head=[1]: a group takes the name of a choice"),
    (["loss=triplet", "head=1"], "error: head=1: a group takes the name of a choice"),
    (["head.temprature=2"], "unknown key head.temprature; did you mean head.temperature"),
    (["episodes.test.way=five"], "way='five'"),
    (["episodes.test.way=50"], "way=50, but folder/"),
    (["episodes.train.shot=6"], "'train0' of folder/train has 8"),
    (["episodes.train.shot=[1,2]"], "2 numbers for way=5"),
    (["+episodes.train.shots=2"], "unknown key episodes.train.shots; did you mean shot"),
    (["training.log_every=often"], "training.log_every='often'; expected a whole number"),
    (["training.validate_every=-1"], "training.validate_every=-1"),
    (["trainer.precision=8"], "trainer.precision=8"),
    (["optimizer.lr=fast"], "optimizer"),
    (["head.temperature=-1.0"], "head.temperature=-1"),
    (["seed=-1"], "seed=-1"),
    (["mode=dance"], "mode=dance"),
    (["mode=test"], "needs checkpoint="),
    (["mode=test", "checkpoint=none.safetensors"], "no checkpoint at none.safetensors"),
    (["checkpoint=x"], "goes with mode=test"),
    (["data.root=nowhere"], "nowhere has neither"),
    (["data=omniglot", "~data.size", "data.download=false"], "data.size"),
    (["head._target_=no.such.Thing"], "cannot make no.such.Thing"),
    (["data.training_pipeline=squash28"], "folder has no pipelines to choose from"),
    (["experiment=small/ridge", "schedule=cosine"], "goes away with ~schedule.every"),
]


@pytest.mark.parametrize(("arguments", "words"), BAD, ids=[" ".join(a) for a, _ in BAD])
def test_what_cannot_be_is_one_line_and_leaves_nothing(fewshot, tmp_path, capfd, arguments, words):
    assert fewshot(*arguments) == 2
    err = capfd.readouterr().err
    assert err.startswith("fewshot: error: ")
    assert err.count("\n") == 1
    assert words in err
    assert not (tmp_path / "leaderboard.csv").exists()
    assert not (tmp_path / "runs").exists()


def test_a_file_that_is_no_leaderboard_is_refused_before_training(fewshot, tmp_path, capfd):
    (tmp_path / "thesis.csv").write_text("years,of,work\n")
    assert fewshot("leaderboard=thesis.csv") == 2
    assert "thesis.csv" in capfd.readouterr().err
    assert (tmp_path / "thesis.csv").read_text() == "years,of,work\n"
    assert not (tmp_path / "runs").exists()


def test_an_unwritable_output_is_one_line(fewshot, tmp_path, capfd):
    (tmp_path / "file").write_text("")
    assert fewshot("output=file/runs") == 2
    assert "cannot make a run folder" in capfd.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_one_line(fewshot, tmp_path, capfd):
    assert fewshot("trainer.accelerator=cuda") == 2
    assert "no such device is here" in capfd.readouterr().err


def test_weights_of_another_network_are_refused(fewshot, tmp_path, capfd):
    fewshot("mode=train")
    weights = only_run(tmp_path) / "best.safetensors"
    assert fewshot("mode=test", f"checkpoint={weights}", "backbone.width=16", without=TRAIN_ONLY) == 2
    assert "does not fit this learner" in capfd.readouterr().err


OWN = """
import torch

class Swapped(torch.nn.Module):
    def forward(self, episodes):
        return torch.zeros(len(episodes), episodes.way, episodes.query.shape[1])

class Plain:
    pass
"""


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("_target_: own_heads.Swapped", "Swapped returns scores of shape [2, 5, 15] for 2 tasks"),
        ("_target_: own_heads.Plain", "own_heads.Plain made a Plain; expected a torch.nn.Module"),
        ("_target_: own_heads.Missing", "cannot make own_heads.Missing"),
        ("_target_: [own_heads", "not YAML"),
        ("- a list", "head=['a list'] has no _target_"),
        ("", "head={} has no _target_"),
    ],
)
def test_a_head_of_ones_own_that_cannot_be_used_is_one_line(fewshot, tmp_path, monkeypatch, capfd, content, words):
    (tmp_path / "own_heads.py").write_text(OWN)
    (tmp_path / "conf" / "head").mkdir(parents=True)
    (tmp_path / "conf" / "head" / "own.yaml").write_text(content + "\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert fewshot("head=own", flags=("--config-dir", "conf")) == 2
    err = capfd.readouterr().err
    assert words in err
    assert err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_the_version_is_that_of_the_package(fewshot, capsys):
    assert fewshot(flags=("--version",)) == 0
    for command in (data.main, leaderboard.main):
        with pytest.raises(SystemExit, match="0"):
            command(["--version"])
    assert capsys.readouterr().out == 3 * f"fewshot {version('fewshot')}\n"


def test_a_folder_of_ones_own_configuration_and_code_is_enough_for_a_new_head(fewshot, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "import torch\n"
        "class Nearest(torch.nn.Module):\n"
        "    transductive = False\n"
        "    def forward(self, episodes):\n"
        "        return -torch.cdist(episodes.query, episodes.support)\n"
    )
    (tmp_path / "conf" / "head").mkdir(parents=True)
    (tmp_path / "conf" / "head" / "nearest.yaml").write_text("_target_: mine.Nearest\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert fewshot("head=nearest", flags=("--config-dir", "conf")) == 0
    assert read("leaderboard.csv")["head"].tolist() == ["Nearest"]
