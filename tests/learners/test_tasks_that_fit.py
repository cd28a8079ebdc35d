"""A learner is asked whether it can score a protocol's tasks before any is drawn."""

import pytest
import torch
from torch import nn

from fewshot.backbones.conv4 import Conv4
from fewshot.episodes.protocol import Protocol
from fewshot.errors import FewshotError
from fewshot.evaluation.scoring import evaluate
from fewshot.heads.feature_transform import FeatureTransform, Prepared
from fewshot.heads.linear import LinearHead
from fewshot.heads.prototype import PrototypeHead
from fewshot.learners.gradient.maml import MAML
from fewshot.learners.learner import check_tasks
from fewshot.learners.metric_learner import MetricLearner
from fewshot.losses.cross_entropy import CrossEntropy
from fewshot.training.meta_train import meta_train

ZERO = Protocol(3, 0, 4, episodes=2)


class ByAttributes(nn.Module):
    transductive = False
    needs_support = False
    reads_attributes = True

    def __init__(self, attribute_size):
        super().__init__()
        self.attribute_size = attribute_size

    def forward(self, episodes):
        return episodes.query @ episodes.attributes.transpose(1, 2)


def learner(head):
    return MetricLearner(Conv4(channels=1, image_size=28, width=4), head, CrossEntropy())


@pytest.mark.parametrize(
    "head", [PrototypeHead(), Prepared(PrototypeHead(), FeatureTransform("l2n"))], ids=["plain", "prepared"]
)
def test_a_head_that_needs_support_refuses_zero_shot_in_one_line(bank, head):
    for ask in (lambda: evaluate(learner(head), bank, ZERO), lambda: check_tasks(head, bank, ZERO)):
        with pytest.raises(FewshotError, match="shot=0 gives no support items, by which PrototypeHead knows a class"):
            ask()
    evaluate(learner(head), bank, Protocol(3, 1, 4, episodes=2))


@pytest.mark.parametrize("validation", [False, True])
def test_training_refuses_it_too(bank, validation):
    one = Protocol(3, 1, 4, episodes=2)
    protocols = (one, bank, ZERO) if validation else (ZERO, None, None)
    with pytest.raises(FewshotError, match="shot=0 gives no support items"):
        meta_train(learner(PrototypeHead()), bank, *protocols, show_progress=False)


def never(*_):
    raise AssertionError("asked of a learner that the tasks do not fit")


def test_more_classes_than_a_linear_head_has_rows_are_refused_before_any_training(bank):
    maml = MAML(learner(LinearHead(4, way=3)), 1)
    maml.training_loss = maml.predict = never
    check_tasks(maml, bank, Protocol(3, 1, 4))
    for ask in (
        lambda: evaluate(maml, bank, Protocol(4, 1, 4, episodes=2)),
        lambda: meta_train(maml, bank, Protocol(3, 1, 4, episodes=2), bank, Protocol(4, 1, 4), show_progress=False),
    ):
        with pytest.raises(
            FewshotError, match="tasks of 4 classes for a linear head of 3; train with at least as many"
        ):
            ask()
    check_tasks(MAML(learner(LinearHead(4, way=3, start="shared")), 1), bank, Protocol(4, 1, 4))


@pytest.mark.parametrize("split", ["halves", "leave_one_out"])
def test_support_sets_that_cannot_be_split_are_refused_before_any_training(bank, split):
    maml = MAML(learner(PrototypeHead()), 1, split=split)
    maml.training_loss = maml.predict = never
    two, words = Protocol(3, 2, 4, episodes=2), f"split={split} needs at least 2 shots"
    check_tasks(maml, bank, two)
    for ask in (
        lambda: evaluate(maml, bank, Protocol(3, 1, 4, episodes=2)),
        lambda: meta_train(maml, bank, two, bank, Protocol(3, 1, 4), show_progress=False),
    ):
        with pytest.raises(FewshotError, match=words):
            ask()
    # As many items as two of each class, but one class has three and one has one.
    with pytest.raises(FewshotError, match="as many support items of each class"):
        check_tasks(maml, bank, Protocol(3, (1, 2, 3), 4))
    # Without steps nothing is split.
    check_tasks(MAML(learner(PrototypeHead()), 1, test_steps=0, split=split), bank, Protocol(3, 1, 4))


def test_a_head_of_attributes_wants_as_many_as_it_was_made_for(bank):
    known = bank.replacing(class_attributes=torch.rand(bank.num_classes, 4))
    assert evaluate(learner(ByAttributes(4)), known, ZERO).accuracies.shape == (2,)
    with pytest.raises(FewshotError, match="bank/all knows nothing of its classes, but ByAttributes was made for 4"):
        evaluate(learner(ByAttributes(4)), bank, ZERO)
    with pytest.raises(FewshotError, match="bank/all knows 4 numbers of each class, but ByAttributes was made for 5"):
        evaluate(learner(ByAttributes(5)), known, ZERO)
