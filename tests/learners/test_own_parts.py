"""Backbones and losses of a user's own are tried out before a training."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from fewshot import FewshotError, LossValue, MetricLearner, Protocol, PrototypeHead, meta_train
from fewshot.backbones.pixels import Pixels
from fewshot.learners.classifier import ClassifierLearner
from fewshot.learners.own_parts import check_own_parts
from fewshot.losses.cross_entropy import CrossEntropy
from fewshot.losses.weighted_sum import WeightedSum

PROTOCOL = Protocol(5, 1, 3, episodes=2)


class Says(nn.Module):
    """A loss that is what a function makes of logits and labels."""

    def __init__(self, made):
        super().__init__()
        self.made = made

    def forward(self, episodes, logits):
        return self.made(logits.flatten(0, 1), episodes.query_labels.flatten())


class Net(nn.Module):
    """A backbone that says and makes numbers of features of one's choice."""

    def __init__(self, says=4, makes=4):
        super().__init__()
        self.feature_size, self.makes = says, makes
        self.norm, self.last = nn.BatchNorm2d(1), nn.Linear(28 * 28, makes)

    def forward(self, images):
        return self.last(self.norm(images).flatten(1))


def learner_of(loss=None, backbone=None):
    return MetricLearner(backbone or Net(), PrototypeHead(), loss or CrossEntropy())


def test_a_loss_may_return_a_scalar(bank):
    results = []
    for loss in (Says(cross_entropy), CrossEntropy(), WeightedSum({"one": Says(cross_entropy)})):
        torch.manual_seed(0)
        learner = learner_of(loss)
        results.append(meta_train(learner, bank, PROTOCOL, show_progress=False).curve)
    scalar, usual, summed = results
    assert scalar[-1]["loss"] == usual[-1]["loss"] == summed[-1]["loss"]
    assert scalar[-1]["Says"] == summed[-1]["Says"] == usual[-1]["cross_entropy"]


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda logits, labels: cross_entropy(logits, labels, reduction="none"), r"returns a tensor of shape \[30\]"),
        (lambda logits, labels: cross_entropy(logits, labels).item(), "returns a float; expected a scalar tensor"),
        (lambda logits, labels: (logits.mean(), {}), "returns a tuple; expected a scalar tensor, or LossValue"),
        (lambda logits, labels: logits.mean().detach(), "total without a gradient"),
        (lambda logits, labels: LossValue(logits.mean(0), {}), "of more than one number"),
        (lambda logits, labels: logits @ logits, r"fails on two tasks of random features, test_own_parts\.py line \d+: RuntimeError: "),
    ],
)  # fmt: skip
def test_a_loss_that_cannot_be_minimised_is_one_line(bank, tmp_path, made, words):
    with pytest.raises(FewshotError, match=f"loss: Says .*{words}"):
        meta_train(learner_of(Says(made)), bank, PROTOCOL, folder=tmp_path / "run", show_progress=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("learner", [MetricLearner, ClassifierLearner])
def test_a_backbone_that_makes_other_features_than_it_says_is_one_line(bank, learner):
    rest = (PrototypeHead(), CrossEntropy() if learner is MetricLearner else nn.Linear(4, 12))
    with pytest.raises(
        FewshotError, match=r"backbone: Net makes \[2, 4\] of images \[2, 1, 28, 28\]; expected \[2, 5\]"
    ):
        check_own_parts(learner(Net(says=5), *rest), bank, PROTOCOL)
    small = bank.replacing(items=bank.items[..., :14, :14], _known_fingerprint=None)
    with pytest.raises(FewshotError, match=r"backbone: Net fails on images \[2, 1, 14, 14\], test_own_parts\.py line"):
        check_own_parts(learner(Net(), *rest), small, PROTOCOL)


def test_trying_out_changes_nothing(bank):
    learner = learner_of(Says(cross_entropy)).train()
    learner.backbone.norm.eval()
    before, drawn = {name: v.clone() for name, v in learner.state_dict().items()}, torch.random.get_rng_state()
    check_own_parts(learner, bank, PROTOCOL)
    assert learner.training
    assert learner.head.training
    assert not learner.backbone.norm.training
    assert torch.equal(torch.random.get_rng_state(), drawn)
    assert all(torch.equal(v, before[name]) for name, v in learner.state_dict().items() if name != "base_mean")
    assert all(p.grad is None for p in learner.parameters())


def test_features_need_no_backbone(bank):
    features = bank.with_features(bank.items.flatten(1).float())
    check_own_parts(learner_of(backbone=Net(says=784, makes=3)), features, PROTOCOL)
    check_own_parts(learner_of(backbone=Pixels(1, 28)), bank, PROTOCOL)
