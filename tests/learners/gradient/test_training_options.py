import pytest
from torch import nn

from fewshot.errors import FewshotError
from fewshot.heads.linear import LinearHead
from fewshot.learners.gradient.maml import MAML
from fewshot.learners.gradient.reptile import Reptile
from fewshot.learners.metric_learner import MetricLearner
from fewshot.losses.cross_entropy import CrossEntropy


def network() -> MetricLearner:
    backbone = nn.Linear(4, 3)
    backbone.feature_size = 3
    return MetricLearner(backbone, LinearHead(3, 5), CrossEntropy())


@pytest.mark.parametrize(
    ("learner", "refused"),
    [
        (lambda: MAML(network()), {"compiled", "16"}),
        (lambda: MAML(network(), first_order=True), {"16"}),
        (lambda: MAML(network(), adapts="head"), {"16"}),
        (lambda: MAML(network(), steps=0), set()),
        (lambda: Reptile(network()), {"16"}),
        (network, set()),
    ],
)
def test_second_derivatives_are_not_compiled_and_inner_gradients_not_of_16_bits(learner, refused):
    learner, found = learner(), set()
    for name, options in {"compiled": (True, "32"), "16": (False, "16"), "bf16": (False, "bf16")}.items():
        try:
            learner.check_training(*options)
        except FewshotError:
            found.add(name)
    assert found == refused
