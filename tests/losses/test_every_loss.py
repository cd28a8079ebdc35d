"""What holds for every loss, whatever it computes."""

import pytest
import torch

from fewshot.episodes.episodes import Episodes
from fewshot.losses.alignment_uniformity import Alignment, Uniformity
from fewshot.losses.cross_entropy import CrossEntropy
from fewshot.losses.icnn import ICNN
from fewshot.losses.mean_squared_error import MeanSquaredError
from fewshot.losses.pairs import PairLoss
from fewshot.losses.proto_triplet import ProtoTriplet

from .conftest import episodes_of, random

LOSSES = {
    "cross_entropy": CrossEntropy,
    "mean_squared_error": MeanSquaredError,
    "proto_triplet": ProtoTriplet,
    "icnn support": lambda: ICNN("support"),
    "icnn query": lambda: ICNN("query"),
    "icnn full": lambda: ICNN("full"),
    "icnn spread": lambda: ICNN("full", spread=True),
    "multi_similarity": lambda: PairLoss("multi_similarity"),
    "contrastive": lambda: PairLoss("contrastive"),
    "supcon": lambda: PairLoss("supcon"),
    "batch_hard": lambda: PairLoss("batch_hard"),
    "nca": lambda: PairLoss("nca"),
    "alignment": Alignment,
    "uniformity": Uniformity,
    "uniformity items": lambda: Uniformity(points="items"),
}


@pytest.fixture(params=LOSSES)
def loss(request):
    return LOSSES[request.param]()


def value(loss, episodes):
    logits = random(len(episodes), episodes.query.shape[1], episodes.way, seed=9)
    return loss(episodes, logits).total


def some(episodes, tasks):
    return Episodes(*(tensor[tasks] for tensor in episodes.tensors()))


def test_the_loss_of_a_batch_is_the_mean_over_its_tasks(loss):
    episodes = episodes_of()
    logits = random(3, 12, 3, seed=9)
    alone = [loss(some(episodes, slice(b, b + 1)), logits[b : b + 1]).total for b in range(3)]
    torch.testing.assert_close(loss(episodes, logits).total, torch.stack(alone).mean())


def test_the_order_of_items_does_not_matter(loss):
    episodes, order = episodes_of(), torch.randperm(6, generator=torch.Generator().manual_seed(1))
    shuffled = Episodes(
        episodes.support[:, order],
        episodes.support_labels[:, order],
        episodes.query,
        episodes.query_labels,
        episodes.classes,
    )
    torch.testing.assert_close(value(loss, shuffled), value(loss, episodes))


@pytest.mark.parametrize("case", ["collapsed", "one shot", "one query", "no query of a class", "duplicates", "float32"])
def test_values_and_gradients_stay_finite(loss, case):
    episodes = episodes_of(
        shot=1 if case == "one shot" and not needs_two(loss) else 2, query=1 if case == "one query" else 4
    )
    support, query, labels = episodes.support.clone(), episodes.query.clone(), episodes.query_labels
    if case == "collapsed":
        support, query = torch.ones_like(support), torch.ones_like(query)
    if case == "duplicates":
        query[:, :3] = support[:, :1]
        support[:, 1] = support[:, 0]
    if case == "no query of a class":
        labels = labels.clamp(max=1)
    if case == "float32":
        support, query = support.float(), query.float()
    support.requires_grad_()
    query.requires_grad_()
    changed = Episodes(support, episodes.support_labels, query, labels, episodes.classes)
    logits = torch.cdist(query, support)[..., :3]
    found = loss(changed, logits)
    assert found.total.ndim == 0
    assert found.total.isfinite()
    assert all(not part.requires_grad for part in found.parts.values())
    found.total.backward()
    for part in (support, query):
        assert part.grad is None or part.grad.isfinite().all()


def needs_two(loss):
    return isinstance(loss, ICNN) and loss.variant == "support"


def test_something_is_learned_from_it(loss):
    episodes = episodes_of(spread=0.3)
    support = episodes.support.requires_grad_()
    logits = -torch.cdist(episodes.query.requires_grad_(), support)[..., ::2]
    loss(episodes, logits).total.backward()
    grads = [part.grad for part in (support, episodes.query) if part.grad is not None]
    assert any(grad.abs().max() > 0 for grad in grads)
