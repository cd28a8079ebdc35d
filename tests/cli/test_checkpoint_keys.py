import pytest
import torch

from fewshot.cli.checkpoint_keys import with_keys_of_checkpoint
from fewshot.training.checkpoint import save_weights


@pytest.fixture
def checkpoint(tmp_path):
    config = {"learner": {"test_steps": 5}, "head": {"scale": 1.0, "lr": 0.1}, "name": None}
    save_weights(tmp_path / "w.safetensors", {"x": torch.zeros(1)}, {"config": config})
    return f"checkpoint={tmp_path / 'w.safetensors'}"


@pytest.mark.parametrize(
    ("typed", "passed"),
    [
        ("learner.test_steps=10", "++learner.test_steps=10"),
        ("learner.test_stops=10", "learner.test_stops=10"),
        ("learner.test_steps.more=10", "learner.test_steps.more=10"),
        ("+learner.test_steps=10", "+learner.test_steps=10"),
        ("~learner.test_steps", "~learner.test_steps"),
        ("name=again", "name=again"),
        ("--config-dir=my.learner", "--config-dir=my.learner"),
    ],
)
def test_keys_that_the_checkpoint_has_are_added_where_the_defaults_have_none(checkpoint, typed, passed):
    assert with_keys_of_checkpoint(["mode=test", checkpoint, typed]) == ["mode=test", checkpoint, passed]


def test_what_is_chosen_anew_has_keys_of_its_own(checkpoint):
    arguments = ["mode=tune", checkpoint, "head=ridge", "head.scale=5.0"]
    assert with_keys_of_checkpoint(arguments) == arguments


@pytest.mark.parametrize("others", [["mode=test"], ["checkpoint=none.safetensors", "mode=test"], []])
def test_nothing_changes_without_a_test_of_a_checkpoint_that_can_be_read(checkpoint, others):
    arguments = [*others, "learner.test_steps=10"]
    assert with_keys_of_checkpoint(arguments) == arguments
    trains = [checkpoint, "learner.test_steps=10"]
    assert with_keys_of_checkpoint(trains) == trains
