"""The command `fewshot` on classes that are known by attributes: zero-shot, closed forms, seen and unseen together."""

import csv
import json

import numpy as np
import pytest
import torch
from safetensors import safe_open

from fewshot.backbones.pixels import Pixels
from fewshot.data.folder import ImageFolder
from fewshot.data.held_out import hold_out
from fewshot.episodes.protocol import Protocol
from fewshot.evaluation.embedding import embed_bank
from fewshot.evaluation.scoring import evaluate
from fewshot.heads.attribute_regression import AttributeRegressionHead
from fewshot.heads.eszsl import ESZSLHead
from fewshot.leaderboard.table import read
from fewshot.learners.metric_learner import MetricLearner
from fewshot.losses.cross_entropy import CrossEntropy

from .conftest import TRAIN_ONLY, only_run

ZERO = (
    "backbone=pixels",
    "head=zero_shot",
    "head.dimension=16",
    "episodes.train.shot=0",
    "episodes.test.shot=0",
)
# Of a backbone that pixels do not have.
NO_WIDTH = ("backbone.width=8",)
EPISODIC = ("experiment=debug",)


@pytest.fixture
def described(monkeypatch):
    """Folders have no attributes: here the mean image of a class, in coarse squares, is known of it."""
    bank = ImageFolder.bank

    def with_attributes(self, split, **options):
        found = bank(self, split, **options)
        coarse = torch.nn.functional.avg_pool2d(found.items.float(), 7).flatten(1)
        table = torch.stack([coarse[found.labels == c].mean(0) for c in range(found.num_classes)]) - 127
        return found.replacing(class_attributes=table)

    monkeypatch.setattr(ImageFolder, "bank", with_attributes)


def run_of(tmp_path, name):
    (folder,) = (path for path in (tmp_path / "runs").iterdir() if path.name.startswith(name))
    return folder


def test_zero_shot_is_trained_validated_and_tested_by_the_ordinary_command(fewshot, tmp_path, described, capsys):
    assert fewshot(*ZERO, without=NO_WIDTH) == 0
    (row,) = read("leaderboard.csv").to_dict("records")
    assert (row["shot"], row["train_protocol"]) == ("0", "5-way 0-shot 3-query")
    assert row["head"] == "zero_shot(dimension=16)"
    folder = only_run(tmp_path)
    assert (folder / "episode.png").stat().st_size > 5000
    assert "5-way 0-shot" in capsys.readouterr().out


def test_without_attributes_or_with_a_head_of_shots_it_is_one_line(fewshot, tmp_path, capfd):
    assert fewshot(*ZERO, without=NO_WIDTH) == 2
    assert "head=zero_shot knows classes by their attributes, and this data has none" in capfd.readouterr().err
    for part in ("train", "test"):
        assert fewshot(f"episodes.{part}.shot=0") == 2
        error = capfd.readouterr().err
        assert "shot=0 gives no support items, by which PrototypeHead knows a class; use at least one shot" in error
        assert error.count("\n") == 1
    assert not (tmp_path / "runs").exists() or not any((tmp_path / "runs").iterdir())


@pytest.fixture
def trained(fewshot, tmp_path, described):
    """Trains without a quarter of each class's images; returns the command that goes on with the weights."""
    assert fewshot(*ZERO, "held_out=0.25", "mode=train", "name=first", without=NO_WIDTH) == 0
    best = run_of(tmp_path, "first") / "best.safetensors"

    def run(mode, *arguments):
        return fewshot(f"mode={mode}", f"checkpoint={best}", *arguments, without=(*TRAIN_ONLY, *EPISODIC, *NO_WIDTH))

    return run


def test_the_held_out_images_are_recorded_and_kept_out(trained, tmp_path):
    with safe_open(run_of(tmp_path, "first") / "best.safetensors", framework="pt") as file:
        text = file.metadata()["fewshot_tree"]
    assert "folder/train" in text
    assert "without 25% of each class" in text
    # Two of eight images of each of seven classes.
    assert '"held_out"' in text.replace("\\", "")
    assert trained("test", "held_out=0.5") == 2


def test_closed_forms_are_fitted_to_the_base_classes_at_the_test(trained, tmp_path):
    heads = "heads=[own,eszsl,attribute_regression,{head: eszsl, signed: true}]"
    assert trained("test", heads, "episodes.test.episodes=30", "name=second") == 0
    rows = read("leaderboard.csv")
    assert rows["head"].tolist() == ["zero_shot(dimension=16)", "eszsl", "attribute_regression", "eszsl(signed=True)"]
    assert rows.episodes_sha256.nunique() == 1
    assert rows.train_data[1].endswith("without 25% of each class")
    # By hand: the fit is to the images that were trained on, and to no others.
    data = ImageFolder("images", "prepared", size=28, channels=1)
    (base, _), test = hold_out(data.bank("train"), 0.25), data.bank("test")
    for head, number in (
        (ESZSLHead(784, 16), 1),
        (AttributeRegressionHead(784, 16), 2),
        (ESZSLHead(784, 16, signed=True), 3),
    ):
        learner = MetricLearner(Pixels(1, 28), head, CrossEntropy())
        learner.set_base_classes(embed_bank(learner, base))
        found = evaluate(learner, test, Protocol(5, 0, 3, episodes=30))
        assert found.accuracy == pytest.approx(rows.accuracy[number])
        assert found.episodes_sha256 == rows.episodes_sha256[number]


def test_base_classes_of_a_checkpoint_are_those_it_was_trained_on(fewshot, tmp_path, described):
    assert (
        fewshot(
            *ZERO, "data.base_classes=[train0,train1,train2,train4,train6]", "mode=train", "name=few", without=NO_WIDTH
        )
        == 0
    )
    best = run_of(tmp_path, "few") / "best.safetensors"
    tested = ("mode=test", f"checkpoint={best}", "heads=[own,eszsl]", "episodes.test.episodes=30")
    assert fewshot(*tested, without=(*TRAIN_ONLY, *EPISODIC, *NO_WIDTH)) == 0
    assert read("leaderboard.csv")["train_data"].str.startswith("folder/train[5 named, ").all()


def test_one_head_is_tested_on_seen_and_unseen_classes(trained, capfd):
    assert trained("generalised", "heads=[own,eszsl]") == 2
    assert "mode=generalised tests one head; choose it by head=" in capfd.readouterr().err


def test_their_penalties_are_chosen_on_validation_classes(trained, tmp_path):
    assert trained("tune", "head=attribute_regression", "episodes.val.episodes=20") == 0
    rows = list(csv.DictReader((run_of(tmp_path, "tune-") / "tuned.csv").read_text().splitlines()))
    assert [float(row["penalty"]) for row in rows] == [10.0**power for power in range(-3, 4)]


def test_options_of_a_trained_head_are_tried_with_what_it_learned(trained, tmp_path):
    shots = ("episodes.test.shot=2", "episodes.test.episodes=30")
    grid = "tune={prior_shots: [0.0, 1.0, 1000000.0]}"
    assert trained("tune", grid, "episodes.val.shot=2", "episodes.val.episodes=30", *shots) == 0
    rows = list(csv.DictReader((run_of(tmp_path, "tune-") / "tuned.csv").read_text().splitlines()))
    assert len({row["accuracy"] for row in rows}) == 3
    # The option typed for a test is that of the test too, and it differs from what training had.
    for prior in ("0.0", "1000000.0"):
        assert trained("test", f"+head.prior_shots={prior}", *shots, f"name=prior{prior[0]}") == 0
    assert trained("test", *shots, "heads=[own,prototype]", "name=one") == 0
    rows = read("leaderboard.csv")
    assert len(set(rows.accuracy[:3])) == 3
    assert rows["head"][0] == "zero_shot(dimension=16, prior_shots=0.0)"


def test_options_that_change_trained_weights_are_not_tuned(trained, capfd):
    assert trained("tune", "tune={dimension: [8]}") == 2
    assert "tune: dimension change the trained weights of the head" in capfd.readouterr().err


def test_seen_and_unseen_classes_together_leave_a_curve_a_picture_and_a_summary(trained, tmp_path, capsys):
    assert trained("generalised") == 0
    folder = run_of(tmp_path, "generalised-")
    assert {path.name for path in folder.iterdir()} == {"config.yaml", "curve.csv", "curve.png", "generalised.json"}
    result = json.loads((folder / "generalised.json").read_text())
    assert (result["seen_classes"], result["unseen_classes"], result["shot"], result["tasks"]) == (7, 7, 0, 1)
    assert result["seen"] == "folder/train held out"
    rows = list(csv.DictReader((folder / "curve.csv").read_text().splitlines()))
    unseen, seen = (np.array([float(row[name]) for row in rows]) for name in ("unseen", "seen"))
    assert np.trapezoid(seen, unseen) == pytest.approx(result["ausuc"])
    assert 100 * unseen[-1] == pytest.approx(result["unseen_alone"])
    assert 100 * seen[0] == pytest.approx(result["seen_alone"])
    assert result["random_ausuc"] == pytest.approx(1 / 98)
    out = capsys.readouterr().out
    assert f"AUSUC {result['ausuc']:.4f} (random 0.0102)" in out
    assert not (tmp_path / "leaderboard.csv").exists()


def test_with_shots_and_with_closed_forms(trained, tmp_path):
    shots = ("episodes.test.shot=2", "generalised.tasks=3")
    assert trained("generalised", *shots) == 0
    result = json.loads((run_of(tmp_path, "generalised-") / "generalised.json").read_text())
    assert (result["shot"], result["tasks"]) == (2, 3)
    assert result["ausuc_ci95"] > 0
    assert trained("generalised", "head=eszsl", "name=closed") == 0
    assert (run_of(tmp_path, "generalised-closed") / "curve.png").is_file()


def test_what_cannot_be_generalised_is_one_line(fewshot, trained, tmp_path, capfd):
    assert fewshot(*ZERO, "mode=train", "name=whole", without=NO_WIDTH) == 0
    best = run_of(tmp_path, "whole") / "best.safetensors"
    capfd.readouterr()
    for given, words in (
        ((f"checkpoint={best}",), "mode=generalised needs images of the seen classes that training has not seen"),
        (("episodes.test.shot=[1,1,1,1,2]",), "mode=generalised takes one number for all classes"),
        (("data.test=[folder]",), "leave data.test out"),
        (("generalised.tasks=0",), "expected {tasks: N} with a whole number of at least 1"),
        (("data.pipeline=squash",), "data"),
    ):
        assert trained("generalised", *given) == 2
        error = capfd.readouterr().err
        assert words in error
        assert error.count("\n") == 1
    assert not [path for path in (tmp_path / "runs").iterdir() if path.name.startswith("generalised")]


def test_a_frozen_backbone_is_not_trained_and_gives_what_images_would(fewshot, tmp_path, described, capfd):
    assert fewshot("mode=train", "name=before") == 0
    before = run_of(tmp_path, "before") / "best.safetensors"
    frozen = (*ZERO[1:], "training.frozen_backbone=true", f"init={before}", "name=frozen")
    assert fewshot(*frozen) == 0
    weights = []
    for path in (before, run_of(tmp_path, "frozen") / "best.safetensors"):
        with safe_open(path, framework="pt") as file:
            tree = json.loads(file.metadata()["fewshot_tree"])
            found = dict(dict(tree["dict"])["weights"]["dict"])
            weights.append({n: file.get_tensor(v["tensor"]) for n, v in found.items() if n.startswith("backbone.")})
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    (row,) = (r for r in read("leaderboard.csv").to_dict("records") if r["name"] == "frozen")
    assert "folder/train" in row["pretraining"]
    capfd.readouterr()
    for given, words in (
        ((*ZERO[1:], "training.frozen_backbone=true"), "random weights as they are; give init="),
        ((*frozen, "augment=crop_flip"), "leave out augment="),
    ):
        assert fewshot(*given) == 2
        assert words in capfd.readouterr().err
