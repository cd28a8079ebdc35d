"""What holds for every inductive head, whatever it computes."""

import pytest
import torch

from fewshot.episodes.episodes import Episodes
from fewshot.heads.feat import FEATHead
from fewshot.heads.finetune import FineTuneHead
from fewshot.heads.linear import LinearHead
from fewshot.heads.logistic import LogisticHead
from fewshot.heads.matching import MatchingHead
from fewshot.heads.multi_scale import MultiScaleHead
from fewshot.heads.nearest_centroid import NearestCentroidHead
from fewshot.heads.prototune import ProtoTuneHead
from fewshot.heads.prototype import PrototypeHead
from fewshot.heads.relation import RelationHead
from fewshot.heads.ridge import RidgeHead

from .conftest import episodes_of, random

HEADS = {
    "prototype": lambda: PrototypeHead(),
    "prototype cosine": lambda: PrototypeHead("cosine"),
    "prototype snr": lambda: PrototypeHead("snr"),
    "prototype mahalanobis": lambda: PrototypeHead("mahalanobis", rank=3, feature_size=8),
    "matching": lambda: MatchingHead(scale=5.0),
    "matching relu": lambda: MatchingHead(scale=100.0, relu=True),
    "matching context": lambda: MatchingHead(scale=5.0, context_steps=3, feature_size=8),
    "ridge": lambda: RidgeHead(regularisation=2.0),
    "logistic": lambda: LogisticHead(tolerance=1e-10),
    "feat": lambda: FEATHead(8, temperature=2.0),
    "finetune": lambda: FineTuneHead(epochs=3),
    "finetune cosine": lambda: FineTuneHead("cosine", epochs=3),
    "prototune": lambda: ProtoTuneHead(epochs=3),
    "multi scale": lambda: MultiScaleHead((3, 5)),
    "relation": lambda: RelationHead((2, 2, 2), width=4),
    "linear prototypes": lambda: LinearHead(8, start="prototypes"),
    "centroid un": lambda: NearestCentroidHead("un"),
    "centroid l2n": lambda: NearestCentroidHead("l2n"),
    "centroid cl2n": lambda: with_base_mean(NearestCentroidHead("cl2n", 8)),
}


def with_base_mean(head):
    head.transform.base_mean.copy_(random(30, 8, seed=77).mean(0))
    return head


@pytest.fixture(params=HEADS)
def head(request):
    torch.manual_seed(1)
    return HEADS[request.param]().double().eval()


def test_permuting_classes_permutes_columns(head):
    if isinstance(head, FineTuneHead):
        pytest.skip("each column starts from random weights of its own")
    episodes, order = episodes_of(dimension=8), torch.tensor([2, 0, 1])
    relabelled = Episodes(
        episodes.support, order[episodes.support_labels], episodes.query, order[episodes.query_labels], episodes.classes
    )
    torch.testing.assert_close(head(relabelled)[..., order], head(episodes))


def test_a_query_is_scored_without_the_others(head):
    episodes = episodes_of(dimension=8)
    alone = Episodes(
        episodes.support,
        episodes.support_labels,
        episodes.query[:, 3:4],
        episodes.query_labels[:, 3:4],
        episodes.classes,
    )
    torch.testing.assert_close(head(alone)[:, 0], head(episodes)[:, 3])
    assert not head.transductive


def test_a_task_is_scored_without_the_others(head):
    episodes = episodes_of(dimension=8)
    alone = Episodes(*(tensor[1:2] for tensor in episodes.tensors()))
    torch.testing.assert_close(head(alone)[0], head(episodes)[1])


def test_support_order_does_not_matter(head):
    if isinstance(head, MatchingHead) and head.context_steps:
        pytest.skip("the bidirectional LSTM reads the support in its order")
    if isinstance(head, FineTuneHead | ProtoTuneHead):
        pytest.skip("batches are cut from the support in an order drawn beforehand")
    episodes, order = episodes_of(dimension=8), torch.randperm(6, generator=torch.Generator().manual_seed(1))
    shuffled = Episodes(
        episodes.support[:, order],
        episodes.support_labels[:, order],
        episodes.query,
        episodes.query_labels,
        episodes.classes,
    )
    torch.testing.assert_close(head(shuffled), head(episodes))


@pytest.mark.parametrize("case", ["one shot", "one query", "duplicates", "zeros", "huge", "uneven"])
def test_scores_and_gradients_stay_finite(head, case):
    shots = {"one shot": (1, 1, 1), "uneven": (1, 4, 2)}.get(case, (2, 2, 2))
    episodes = episodes_of(shots, query=1 if case == "one query" else 6, dimension=8)
    support, query = episodes.support.clone(), episodes.query.clone()
    if case == "duplicates":
        # Every support item the same, and queries on top of it.
        support, query = support[:, :1].expand_as(support).clone(), support[:, :1].expand_as(query).clone()
    if case == "zeros":
        support[:, 0], query[:, 0] = 0, 0
    if case == "huge":
        support, query = 1e3 * support, 1e3 * query
    support.requires_grad_()
    query.requires_grad_()
    scores = head(episodes.with_items(support, query))
    assert scores.isfinite().all()
    loss = torch.nn.functional.cross_entropy(scores.flatten(0, 1), episodes.query_labels.flatten())
    assert loss.isfinite()
    if scores.requires_grad:
        loss.backward()
        grads = [p.grad for p in (support, query, *head.parameters()) if p.grad is not None]
        assert grads
        assert all(g.isfinite().all() for g in grads)
