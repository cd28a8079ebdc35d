"""Whether a head keeps to what evaluation relies on."""

import pytest
import torch

from fewshot import check_head
from fewshot.errors import FewshotError
from fewshot.heads.feat import FEATHead
from fewshot.heads.feature_transform import FeatureTransform, Prepared
from fewshot.heads.matching import MatchingHead
from fewshot.heads.prototype import PrototypeHead
from fewshot.heads.ridge import RidgeHead
from fewshot.heads.transductive.bd_cspn import BDCSPNHead
from fewshot.heads.transductive.laplacian_shot import LaplacianShotHead
from fewshot.heads.transductive.tim import TIMHead
from fewshot.heads.zero_shot import ZeroShotHead


class Own(torch.nn.Module):
    """Scores by a function of prototypes `[B, N, d]` and queries `[B, Q, d]`."""

    def __init__(self, scores, transductive=False):
        super().__init__()
        self.scores, self.transductive = scores, transductive

    def forward(self, episodes):
        prototypes = episodes.support.unflatten(1, (episodes.way, -1)).mean(2)
        return self.scores(prototypes, episodes.query)


def near(prototypes, query):
    return -torch.cdist(query, prototypes)


@pytest.mark.parametrize("head", [PrototypeHead(), RidgeHead(), MatchingHead(), FEATHead(6), Own(near)], ids=lambda head: type(head).__name__)  # fmt: skip
def test_heads_that_keep_to_it_pass(head):
    check_head(head, 6)


@pytest.mark.parametrize("head", [LaplacianShotHead(), TIMHead(), BDCSPNHead()], ids=lambda head: type(head).__name__)
def test_transductive_heads_pass_since_they_say_so(head):
    check_head(head, 6)
    head.transductive = False
    with pytest.raises(FewshotError, match="say transductive = True"):
        check_head(head, 6)


def test_a_head_of_attributes_needs_no_support():
    check_head(ZeroShotHead(6, 4), 6, shot=0, attribute_size=4)


def test_a_transform_in_front_is_looked_through():
    with pytest.raises(FewshotError, match="head: Own returns scores of shape"):
        check_head(Prepared(Own(lambda p, q: near(p, q).mT), FeatureTransform("l2n")), 6)


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        (lambda p, q: near(p, q).mT, r"shape \[2, 5, 15\] .* expected \[2, 15, 5\]"),
        (lambda p, q: near(p, q).argmax(-1), "torch.int64 numbers"),
        (lambda p, q: (near(p, q), p), "returns a tuple"),
        # A softmax over the first dimension, and centring by all tasks.
        (lambda p, q: near(p, q).softmax(0), "when another lies beside it"),
        (lambda p, q: near(p - p.mean((0, 1)), q), "when another lies beside it"),
        # Centring by the queries of the task.
        (lambda p, q: near(p, q - q.mean(1, keepdim=True)), "scores a query otherwise"),
    ],
)
def test_what_breaks_it_is_said(scores, words):
    with pytest.raises(FewshotError, match=words):
        check_head(Own(scores), 6)


def test_a_head_that_draws_numbers_is_looked_at_for_its_shape_alone():
    check_head(Own(lambda p, q: near(p, q) + torch.rand(len(q), 1, 5)), 6)
    with pytest.raises(FewshotError, match="of shape"):
        check_head(Own(lambda p, q: torch.rand(3, 3)), 6)


def test_nothing_of_the_head_and_no_random_number_is_changed():
    head = Own(lambda p, q: near(p, q) + torch.rand(1)).train()
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    check_head(head, 6)
    assert head.training
    assert torch.equal(torch.rand(4), expected)


def test_no_number_equals_no_number():
    # As before training has told of the mean of the base classes.
    check_head(Own(lambda p, q: near(p, q) * torch.nan), 6)


def test_a_head_is_tried_where_it_is():
    class Meta(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones((), device="meta"))

        def forward(self, episodes):
            assert episodes.query.device == episodes.support.device == self.scale.device
            raise FewshotError("seen")

    with pytest.raises(FewshotError, match="seen"):
        check_head(Meta(), 6)
