"""`fewshot learner=protoclr`: training that sees no labels, and says so."""

import csv
import shutil

import pytest
import torch

from fewshot.leaderboard.table import read
from fewshot.training.checkpoint import load_weights

from .conftest import TRAIN_ONLY, only_run

VIEWS = ("learner=protoclr", "augment=views_drawings", "episodes.train.way=6", "episodes.train.query=2")


def weights_of(tmp_path):
    return load_weights(only_run(tmp_path) / "last.safetensors")


def test_a_row_says_that_there_were_no_labels_and_nothing_was_validated(fewshot, tmp_path, capfd):
    assert fewshot(*VIEWS, "heads=[own,prototype]") == 0
    rows = read("leaderboard.csv")
    assert rows["head"].tolist() == ["prototune", "prototype"]
    assert set(rows.train_protocol) == {"6 images without labels, 1 plain and 2 augmented views of each"}
    assert not rows.transductive.any()
    assert "no validation (labels would choose the weights)" in capfd.readouterr().out
    folder = only_run(tmp_path)
    with open(folder / "metrics.csv", encoding="utf-8") as file:
        assert "val_accuracy" not in next(csv.reader(file))
    best, last = (load_weights(folder / name)[0] for name in ("best.safetensors", "last.safetensors"))
    assert all(torch.equal(value, last[name]) for name, value in best.items() if name != "base_mean")
    facts = load_weights(folder / "best.safetensors")[1]
    assert facts["val_accuracy"] is None
    # Validation classes were not seen, each image was a class.
    assert set(facts["seen"]) == {"folder/train"}
    assert facts["classes"] == 7 * 8


def test_the_same_images_in_other_classes_train_the_same_weights(fewshot, tmp_path):
    fewshot(*VIEWS, "mode=train")
    first = weights_of(tmp_path)[0]
    shutil.rmtree(tmp_path / "runs")
    # All images of training in two classes, in the order in which they were.
    shutil.copytree(tmp_path / "images", tmp_path / "mixed")
    for folder in sorted((tmp_path / "mixed" / "train").iterdir()):
        to = tmp_path / "mixed" / "train" / ("a" if folder.name < "train3" else "b")
        to.mkdir(exist_ok=True)
        for file in folder.iterdir():
            file.rename(to / f"{folder.name}_{file.name}")
        folder.rmdir()
    assert fewshot(*VIEWS, "mode=train", "data.root=mixed") == 0
    second, facts = weights_of(tmp_path)
    assert facts["seen"] == {"folder/train": ["a", "b"]}
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def test_other_learners_take_such_episodes_too(fewshot):
    # MAML on one plain and one augmented view is UMTRA.
    views = ("episodes=unlabelled", "augment=views_drawings", "episodes.train.way=5", "episodes.train.query=1")
    few = ("episodes.train.episodes=4", "episodes.test.episodes=4")
    assert fewshot("learner=maml", "learner.steps=1", *views, *few) == 0
    assert (
        fewshot("learner=reptile", "learner.steps=1", "learner.test_steps=1", "learner.norm=support", *views, *few) == 0
    )
    assert fewshot("loss=proxy_nca", *views, *few) == 0
    assert set(read("leaderboard.csv").train_protocol) == {
        "5 images without labels, 1 plain and 1 augmented views of each"
    }


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("learner=protoclr",), "an augmentation that changes nothing"),
        (("learner=classifier", "head=nearest_centroid", "episodes=unlabelled"), "a classifier is trained on labels"),
        ((*VIEWS, "episodes.train.way=57"), "has 56 images; use a smaller way"),
        ((*VIEWS, "episodes.train.shot=[1,2]"), "episodes.train.shot=[1, 2]; expected a whole number"),
        (("data.train=half",), "has no split 'half'"),
        (("data.train=test",), "meta-test needs classes that training has not seen"),
    ],
)
def test_what_cannot_be_is_one_line_before_anything_is_written(fewshot, tmp_path, capfd, words, reason):
    assert fewshot(*words, without=("experiment=debug",) if "learner=classifier" in words else ()) == 2
    said = capfd.readouterr().err
    assert reason in said
    assert "Traceback" not in said
    assert not (tmp_path / "runs").exists()


def test_another_split_can_be_trained_on(fewshot, tmp_path, capfd):
    assert fewshot("data.train=val") == 0
    assert "no validation (val was trained on)" in capfd.readouterr().out
    weights = only_run(tmp_path) / "best.safetensors"
    assert load_weights(weights)[1]["train_data"].startswith("folder/val")
    assert fewshot("mode=tune", f"checkpoint={weights}", "head=prototype", without=TRAIN_ONLY) == 2
    assert "training has not seen" in capfd.readouterr().err
