"""Proto-Triplet and ICNN against the formulas of their specification, computed by loops."""

import math

import pytest
import torch

from fewshot.errors import FewshotError
from fewshot.losses.icnn import ICNN, icnn_score
from fewshot.losses.proto_triplet import ProtoTriplet

from .conftest import episodes_of, no_logits, pooled, random


def distance(a, b):
    return math.sqrt(float((a - b).square().sum()) + 1e-6)


def plain_proto_triplet(episodes, margin):
    terms = []
    for b in range(len(episodes)):
        centres = [episodes.support[b][episodes.support_labels[b] == c].mean(0) for c in range(episodes.way)]
        for x, y in zip(episodes.query[b], episodes.query_labels[b].tolist(), strict=True):
            d = [distance(x, p) for p in centres]
            terms.append(max(0.0, d[y] - min(v for c, v in enumerate(d) if c != y) + margin))
    return sum(terms) / len(terms)


def plain_score(points, labels, targets, target_labels, itself, k, inspected, spread=False):
    """The modified score, step by step as metric.md has it."""
    eps, total = 1e-7, len(targets)
    few = k + 2 >= total
    if few:
        k = total - 2
    inspected = min(max(inspected, k), total - itself)
    u, v, own = [], [], []
    for i, (x, y) in enumerate(zip(points, labels, strict=True)):
        others = [
            (distance(x, t), bool(z == y))
            for j, (t, z) in enumerate(zip(targets, target_labels, strict=True))
            if not (itself and i == j)
        ]
        near = sorted(others, key=lambda pair: pair[0])[:inspected]
        nearest_other = min((d for d, same in near if not same), default=math.inf)
        near = near[:k]
        row = [d / (nearest_other + eps) for d, _ in near]
        row = [value / max(1, *row) for value in row]
        own.append([same for _, same in near])
        u.append([value * same for value, (_, same) in zip(row, near, strict=True)])
        v.append([d * (not same) for d, same in near])
    farthest = max(max(row) for row in v)
    v = [[d / farthest if farthest else 0.0 for d in row] for row in v]
    counts = [sum(row) for row in own]
    rows = [sum(row) / (c + eps) for row, c in zip(u, counts, strict=True)]
    lam_s = 1 - sum(rows) / (sum(c > 0 for c in counts) + eps)
    foreign = [k - c for c in counts]
    rows = [sum(row) / (e + eps) for row, e in zip(v, foreign, strict=True)]
    lam_d = sum(rows) / (sum(e > 0 for e in foreign) + eps) if any(foreign) else 1.0
    quality = (lam_s + lam_d) / 2
    gamma = 1.0 if few else sum(c / k for c in counts) / len(counts)
    if not spread:
        return (quality + gamma) / 2
    variances = [torch.tensor(part, dtype=torch.float64).flatten().var().item() for part in (u, v)]
    return (quality + gamma + 1 - sum(variances)) / 3


@pytest.mark.parametrize("margin", [0.0, 0.5, 2.0])
def test_proto_triplet_is_that_of_a_plain_loop(margin):
    episodes = episodes_of(spread=0.7)
    found = ProtoTriplet(margin)(episodes, no_logits(episodes))
    assert float(found.total) == pytest.approx(plain_proto_triplet(episodes, margin), abs=1e-9)
    assert set(found.parts) == {"proto_triplet"}


def test_proto_triplet_is_zero_for_classes_far_apart_and_the_margin_for_collapsed_ones():
    apart = episodes_of(spread=1000.0)
    assert float(ProtoTriplet()(apart, no_logits(apart)).total) == 0
    collapsed = apart.with_items(torch.zeros_like(apart.support), torch.zeros_like(apart.query))
    assert float(ProtoTriplet(0.7)(collapsed, no_logits(apart)).total) == pytest.approx(0.7)


def test_proto_triplet_does_not_see_translation_and_rotation_but_scale():
    episodes, rotation = episodes_of(spread=0.5), torch.linalg.qr(random(6, 6, seed=4)).Q
    moved = episodes.with_items(episodes.support @ rotation + 3, episodes.query @ rotation + 3)
    plain = ProtoTriplet()(episodes, no_logits(episodes)).total
    torch.testing.assert_close(ProtoTriplet()(moved, no_logits(episodes)).total, plain)
    larger = episodes.with_items(2 * episodes.support, 2 * episodes.query)
    assert abs(float(ProtoTriplet()(larger, no_logits(episodes)).total - plain)) > 0.01


@pytest.mark.parametrize("spread", [False, True])
@pytest.mark.parametrize(("variant", "shot", "query"), [("full", 2, 4), ("support", 5, 1), ("query", 5, 3), ("full", 1, 1), ("support", 2, 1), ("query", 2, 4)])  # fmt: skip
def test_icnn_is_that_of_a_plain_loop(variant, shot, query, spread):
    episodes = episodes_of(shot=shot, query=query, spread=0.6)
    losses = []
    for b in range(len(episodes)):
        support = (episodes.support[b], episodes.support_labels[b])
        if variant == "support":
            score = plain_score(*support, *support, True, 4, 5, spread)
        elif variant == "query":
            score = plain_score(episodes.query[b], episodes.query_labels[b], *support, False, 4, 5, spread)
        else:
            both = pooled(episodes, b)
            score = plain_score(*both, *both, True, 4, shot + query, spread)
        losses.append(-math.log(min(max(score, 1e-6), 1)))
    found = ICNN(variant, spread=spread)(episodes, no_logits(episodes)).total
    assert float(found) == pytest.approx(sum(losses) / len(losses), abs=1e-7)


def test_the_score_does_not_see_scale_translation_rotation_and_order():
    points, labels = random(1, 40, 6), (torch.arange(40) % 4)[None]
    points = points + 2 * random(1, 4, 6, seed=3).gather(1, labels[..., None].expand(-1, -1, 6))
    plain = icnn_score(points, labels)
    rotation = torch.linalg.qr(random(6, 6, seed=4)).Q
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    for other, names in (
        (50 * points, labels),
        (points + 7, labels),
        (points @ rotation, labels),
        (points[:, order], labels[:, order]),
    ):
        torch.testing.assert_close(icnn_score(other, names), plain, rtol=1e-4, atol=1e-4)


def test_the_score_rises_to_one_as_classes_separate():
    labels = torch.arange(5).repeat_interleave(20)[None]
    centres, noise = random(1, 5, 64), random(1, 100, 64, seed=5)
    scores = []
    for scale in (0, 0.5, 1, 2, 5, 50):
        points = noise + scale * centres.gather(1, labels[..., None].expand(-1, -1, 64))
        scores.append(float(icnn_score(points, labels, inspected=20)[0]))
    # The specification's own run had .32, .58, .80, .88, .94, .995 with other noise.
    assert scores == sorted(scores)
    assert scores == pytest.approx([0.32, 0.58, 0.80, 0.88, 0.94, 0.995], abs=0.1)


def test_the_score_lies_between_zero_and_one_and_strangers_have_no_share():
    for seed in range(20):
        points = random(1, 12, 3, seed=seed)
        labels = torch.randint(0, 3, (1, 12), generator=torch.Generator().manual_seed(seed))
        assert 0 <= float(icnn_score(points, labels)[0]) <= 1
    alone = torch.arange(12)[None]
    # Without any neighbour of the own class lambda's first half is 1 and gamma is 0.
    far = icnn_score(random(1, 12, 3), alone)
    assert float(far[0]) <= 0.5


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: ProtoTriplet(-1.0), r"loss\.margin=-1"),
        (lambda: ICNN("fullicn"), r"loss\.variant=fullicn; expected one of support, query, full"),
        (lambda: ICNN(neighbours=0), r"loss\.neighbours=0"),
    ],
)
def test_what_makes_no_loss_is_refused(make, word):
    with pytest.raises(FewshotError, match=word):
        make()


def test_prototypes_of_no_support_are_refused():
    episodes = episodes_of().without_support()
    with pytest.raises(FewshotError, match="loss=proto_triplet compares with prototypes of the support"):
        ProtoTriplet()(episodes, no_logits(episodes))


def test_queries_without_support_are_refused():
    episodes = episodes_of().without_support()
    with pytest.raises(FewshotError, match="variant query compares with the support, and these tasks have none"):
        ICNN("query")(episodes, no_logits(episodes))


def test_tasks_that_are_too_small_are_refused():
    episodes = episodes_of(way=2, shot=1, query=1)
    with pytest.raises(FewshotError, match="needs at least 3 items, this task has 2"):
        ICNN("support")(episodes, no_logits(episodes))
