"""Options of the head that a checkpoint was trained with, asked for otherwise in a test."""

import csv

import pytest
import torch

from fewshot.training.checkpoint import load_weights, save_weights

from .conftest import TRAIN_ONLY, only_run


@pytest.fixture
def trained(fewshot, tmp_path):
    """Trains a head, and gives what tests its weights."""

    def train(*head):
        assert fewshot("mode=train", *head) == 0
        best = only_run(tmp_path) / "best.safetensors"

        def test(*arguments, path=best, mode="test"):
            return fewshot(f"mode={mode}", f"checkpoint={path}", *arguments, without=(*TRAIN_ONLY, "experiment=debug"))

        return test, best

    return train


def accuracies(tmp_path):
    return [row["accuracy"] for row in csv.DictReader((tmp_path / "leaderboard.csv").read_text().splitlines())]


def test_an_option_that_was_not_trained_takes_effect(trained, tmp_path):
    test, _ = trained("head=ridge")
    for value in ("1.0e-5", "100.0"):
        assert test(f"head.regularisation={value}", "episodes.test.shot=4") == 0
    assert test("head=ridge", "head.regularisation=100.0", "episodes.test.shot=4") == 0
    weak, strong, new = accuracies(tmp_path)
    # Ridge's own scale and shift change no order of the classes.
    assert weak != strong == new


def test_files_that_hold_such_an_option_can_still_be_tested(trained, tmp_path):
    test, best = trained("head=ridge")
    weights, facts = load_weights(best)
    assert not any("log_regularisation" in name for name in weights)
    save_weights(tmp_path / "old.safetensors", weights | {"head.log_regularisation": torch.tensor(-3.0)}, facts)
    assert test() == test(path=tmp_path / "old.safetensors") == 0
    assert len(set(accuracies(tmp_path))) == 1


@pytest.mark.parametrize("mode", ["test", "tune"])
def test_a_value_that_training_went_on_from_is_refused(trained, tmp_path, capfd, mode):
    test, _ = trained("head=prototype", "head.learn_temperature=true")
    typed = "head.temperature=3.0" if mode == "test" else "tune={temperature: [1.0, 3.0]}"
    capfd.readouterr()
    assert test(typed, mode=mode) == 2
    err = capfd.readouterr().err
    assert "head.temperature: training went on from that value" in err
    assert err.count("\n") == 1
    assert not (tmp_path / "leaderboard.csv").exists()
    assert len(list((tmp_path / "runs").iterdir())) == 1


def test_features_can_be_prepared_otherwise_than_in_training(trained, tmp_path):
    test, _ = trained("head=ridge")
    assert test("head.features=l2n", "episodes.test.shot=2") == 0
    assert test("head=ridge", "head.features=l2n", "episodes.test.shot=2") == 0
    assert test("episodes.test.shot=2") == 0
    prepared, new, plain = accuracies(tmp_path)
    assert prepared == new != plain


def test_features_can_be_left_as_they_are_where_training_prepared_them(trained, tmp_path):
    test, _ = trained("head=ridge", "head.features=l2n")
    assert test("head.features=null", "episodes.test.shot=2") == 0
    assert test("head=ridge", "episodes.test.shot=2") == 0
    assert len(set(accuracies(tmp_path))) == 1


def test_preparations_of_features_can_be_tuned(trained, capfd):
    test, _ = trained("head=ridge")
    assert test("tune={features: [null, l2n]}", mode="tune") == 0
    assert "best on folder/val" in capfd.readouterr().out


def test_a_rate_of_steps_that_was_learned_cannot_be_typed(trained, tmp_path, capfd):
    test, _ = trained("learner=maml", "learner.steps=1", "learner.rates=per_weight")
    capfd.readouterr()
    assert test("+learner.lr=5.0") == 2
    assert "learner.lr is where training began to learn rates" in capfd.readouterr().err
    assert test() == 0
