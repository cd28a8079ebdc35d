"""What is said of a training that begins with a saturated softmax."""

import pytest

from fewshot.backbones.conv4 import Conv4
from fewshot.episodes.protocol import Protocol
from fewshot.heads.prototype import PrototypeHead
from fewshot.heads.ridge import RidgeHead
from fewshot.learners.metric_learner import MetricLearner
from fewshot.losses.cross_entropy import CrossEntropy
from fewshot.training.meta_train import meta_train
from fewshot.training.saturation import saturation_note
from fewshot.training.settings import TrainingSettings


def learner(head, size=84):
    return MetricLearner(Conv4(1, image_size=size), head, CrossEntropy())


def test_it_names_the_loss_what_guessing_has_and_a_temperature_for_so_many_features():
    note = saturation_note(learner(PrototypeHead()), 72.8, 5)
    assert "loss of the first episodes is 72.8, of guessing 1.6" in note
    assert "head.temperature=100 " in note


@pytest.mark.parametrize(
    ("head", "loss"),
    [
        (PrototypeHead(), 6.0),
        (PrototypeHead(temperature=100.0), 72.8),
        (PrototypeHead("cosine", temperature=0.0005), 72.8),
        (PrototypeHead("snr"), 72.8),
        (RidgeHead(), 72.8),
    ],
)
def test_nothing_is_said_where_nothing_would_help(head, loss):
    assert saturation_note(learner(head), loss, 5) is None


@pytest.mark.parametrize(("temperature", "said"), [(0.01, 1), (64.0, 0)])
def test_a_training_says_it_once(bank, capsys, temperature, said):
    settings = TrainingSettings(log_every=2, validate_every=0)
    protocol = Protocol(5, 1, 3, episodes=8)
    meta_train(learner(PrototypeHead(temperature=temperature), 28), bank, protocol, settings=settings)
    assert capsys.readouterr().out.count("head.temperature=4 usually") == said
