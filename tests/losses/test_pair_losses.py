"""Pair losses against their formulas and against the library called task by task."""

import math

import pytest
import torch
from pytorch_metric_learning import distances, losses, miners, reducers
from torch.nn.functional import normalize, softplus

from fewshot.errors import FewshotError
from fewshot.losses.alignment_uniformity import Alignment, Uniformity
from fewshot.losses.pairs import PairLoss
from fewshot.losses.weighted_sum import WeightedSum

from .conftest import episodes_of, no_logits, pooled


def mean_over_tasks(episodes, function):
    return torch.stack([function(*pooled(episodes, b)) for b in range(len(episodes))]).mean()


def unscaled(power=1):
    return distances.LpDistance(normalize_embeddings=False, power=power)


LIBRARY = {
    "multi_similarity": losses.MultiSimilarityLoss(),
    "contrastive": losses.ContrastiveLoss(reducer=reducers.MeanReducer()),
    "supcon": losses.SupConLoss(),
    "nca": losses.NCALoss(distance=unscaled(power=2), reducer=reducers.MeanReducer()),
}


@pytest.mark.parametrize("kind", LIBRARY)
def test_it_is_the_library_called_task_by_task(kind):
    episodes = episodes_of(spread=0.5)
    expected = mean_over_tasks(episodes, LIBRARY[kind])
    torch.testing.assert_close(PairLoss(kind)(episodes, no_logits(episodes)).total, expected, rtol=1e-6, atol=1e-6)


def test_batch_hard_is_the_library_with_its_miner_task_by_task():
    episodes = episodes_of(spread=0.5)
    loss = losses.TripletMarginLoss(margin=0, smooth_loss=True, distance=unscaled(), reducer=reducers.MeanReducer())
    miner = miners.BatchHardMiner(distance=unscaled())
    expected = mean_over_tasks(episodes, lambda z, y: loss(z, y, miner(z, y)))
    torch.testing.assert_close(PairLoss("batch_hard")(episodes, no_logits(episodes)).total, expected)


def cross(episodes, function):
    """The mean over tasks of a loss of the library with the support as its references."""
    parts = zip(episodes.query, episodes.query_labels, episodes.support, episodes.support_labels, strict=True)
    return torch.stack([function(x, y, ref_emb=s, ref_labels=t) for x, y, s, t in parts]).mean()


@pytest.mark.parametrize("kind", LIBRARY)
def test_queries_alone_are_compared_with_the_support_where_asked(kind):
    episodes = episodes_of(spread=0.5)
    found = PairLoss(kind, pairs="cross")(episodes, no_logits(episodes)).total
    torch.testing.assert_close(found, cross(episodes, LIBRARY[kind]), rtol=1e-6, atol=1e-6)


def test_batch_hard_of_queries_and_support_is_the_library_with_its_miner():
    episodes = episodes_of(spread=0.5)
    loss = losses.TripletMarginLoss(margin=0, smooth_loss=True, distance=unscaled(), reducer=reducers.MeanReducer())
    miner = miners.BatchHardMiner(distance=unscaled())
    expected = cross(episodes, lambda x, y, **more: loss(x, y, miner(x, y, *more.values()), **more))
    found = PairLoss("batch_hard", pairs="cross")(episodes, no_logits(episodes)).total
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("epsilon", [0.0, 0.1, 0.5])
def test_mining_is_that_of_the_library(epsilon):
    episodes = episodes_of(spread=1.5)
    miner, loss = miners.MultiSimilarityMiner(epsilon=epsilon), losses.MultiSimilarityLoss()
    found = PairLoss(mining=epsilon)(episodes, no_logits(episodes)).total
    expected = mean_over_tasks(episodes, lambda z, y: loss(z, y, miner(z, y)))
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    assert float(found) < float(PairLoss()(episodes, no_logits(episodes)).total)


def plain_multi_similarity(z, y, alpha=2.0, beta=50.0, base=0.5):
    s, total = normalize(z, dim=1) @ normalize(z, dim=1).T, 0.0
    for i in range(len(z)):
        positive = sum(math.exp(-alpha * (s[i, j] - base)) for j in range(len(z)) if j != i and y[j] == y[i])
        negative = sum(math.exp(beta * (s[i, j] - base)) for j in range(len(z)) if y[j] != y[i])
        total += math.log1p(positive) / alpha + math.log1p(negative) / beta
    return torch.tensor(total / len(z), dtype=torch.float64)


def plain_batch_hard(z, y):
    terms = []
    for i in range(len(z)):
        d = [float((z[i] - z[j]).square().sum() ** 0.5) for j in range(len(z))]
        far = max(d[j] for j in range(len(z)) if j != i and y[j] == y[i])
        terms.append(far - min(d[j] for j in range(len(z)) if y[j] != y[i]))
    return softplus(torch.tensor(terms, dtype=torch.float64)).mean()


@pytest.mark.parametrize(
    ("kind", "plain"), [("multi_similarity", plain_multi_similarity), ("batch_hard", plain_batch_hard)]
)
def test_it_is_the_formula(kind, plain):
    episodes = episodes_of(spread=0.5)
    found = PairLoss(kind)(episodes, no_logits(episodes)).total
    torch.testing.assert_close(found, mean_over_tasks(episodes, plain), rtol=1e-6, atol=1e-6)


def test_closed_forms_of_collapsed_embeddings():
    episodes = episodes_of(way=4, shot=2, query=3)
    same = episodes.with_items(torch.ones_like(episodes.support), torch.ones_like(episodes.query))
    hard = PairLoss("batch_hard")(same, no_logits(same)).total
    assert float(hard) == pytest.approx(math.log(2), abs=1e-5)
    # (1/2) log(1 + 4 e^-1) + (1/50) log(1 + 15 e^25): four classes of five.
    assert float(PairLoss()(same, no_logits(same)).total) == pytest.approx(1.0066, abs=1e-4)
    assert float(Alignment()(same, no_logits(same)).total) == pytest.approx(0, abs=1e-6)
    assert float(Uniformity()(same, no_logits(same)).total) == pytest.approx(0, abs=1e-6)


def test_alignment_and_uniformity_are_those_of_plain_loops():
    episodes = episodes_of()

    def plain_alignment(z, y):
        z = normalize(z, dim=1)
        pairs = [(i, j) for i in range(len(z)) for j in range(i) if y[i] == y[j]]
        return torch.stack([(z[i] - z[j]).norm() ** 3 for i, j in pairs]).mean()

    def plain_uniformity(z, y):
        z = normalize(z, dim=1)
        pairs = [(i, j) for i in range(len(z)) for j in range(i)]
        return torch.stack([(-2 * (z[i] - z[j]).square().sum()).exp() for i, j in pairs]).mean().log()

    torch.testing.assert_close(
        Alignment(3.0)(episodes, no_logits(episodes)).total, mean_over_tasks(episodes, plain_alignment)
    )
    found = Uniformity(points="items")(episodes, no_logits(episodes)).total
    torch.testing.assert_close(found, mean_over_tasks(episodes, plain_uniformity))
    # Never below the value of points on opposite sides.
    assert float(Uniformity()(episodes, no_logits(episodes)).total) >= -8


def test_options_reach_the_library_and_unknown_ones_are_refused():
    episodes = episodes_of(spread=0.5)
    expected = mean_over_tasks(episodes, losses.MultiSimilarityLoss(alpha=1, beta=10))
    torch.testing.assert_close(PairLoss(alpha=1.0, beta=10.0)(episodes, no_logits(episodes)).total, expected)
    for make, word in (
        (lambda: PairLoss("triplet"), "loss.kind=triplet"),
        (lambda: PairLoss(gamma=1.0), "multi_similarity refuses"),
        (lambda: PairLoss("nca", alpha=1.0), "nca has no options"),
        (lambda: PairLoss("nca", pairs="all"), "loss.pairs=all"),
        (lambda: PairLoss("nca", mining=0.1), r"loss.mining=0\.1 of nca"),
        (lambda: Alignment(0.0), "loss.power=0"),
        (lambda: Uniformity(-1.0), "loss.t=-1"),
        (lambda: Uniformity(points="queries"), "loss.points=queries"),
    ):
        with pytest.raises(FewshotError, match=word):
            make()


def test_uniformity_of_prototypes_without_support_is_refused():
    episodes = episodes_of().without_support()
    with pytest.raises(FewshotError, match=r"use loss\.points=items"):
        Uniformity()(episodes, no_logits(episodes))
    assert Uniformity(points="items")(episodes, no_logits(episodes)).total.isfinite()


def test_tasks_without_a_pair_are_refused():
    episodes = episodes_of(shot=1, query=1)
    lonely = episodes.with_items(episodes.support, episodes.query)
    lonely = type(lonely)(lonely.support[:, :1], lonely.support_labels[:, :1], lonely.query[:, 1:2], lonely.query_labels[:, 1:2], lonely.classes)  # fmt: skip
    for loss in (PairLoss(), Alignment()):
        with pytest.raises(FewshotError, match="needs two items of a class"):
            loss(lonely, no_logits(lonely))


def test_losses_add_up_with_their_weights():
    episodes = episodes_of(spread=0.5)
    parts = {"a": PairLoss("nca"), "b": Alignment()}
    a, b = (float(part(episodes, no_logits(episodes)).total) for part in parts.values())
    found = WeightedSum(parts, {"b": 0.5})(episodes, no_logits(episodes))
    assert float(found.total) == pytest.approx(a + 0.5 * b)
    assert {name: float(value) for name, value in found.parts.items()} == pytest.approx({"nca": a, "alignment": b})
    assert float(WeightedSum(parts, average=True)(episodes, no_logits(episodes)).total) == pytest.approx((a + b) / 2)
    with pytest.raises(FewshotError, match=r"loss\.terms is empty"):
        WeightedSum({})
    with pytest.raises(FewshotError, match=r"loss\.weights names c, which is none of the terms a, b"):
        WeightedSum(parts, {"c": 1.0})
