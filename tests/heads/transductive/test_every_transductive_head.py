"""What holds for every transductive head, whatever it computes."""

import pytest
import torch

from fewshot.episodes.episodes import Episodes
from fewshot.heads.prototype import PrototypeHead
from fewshot.heads.transductive.bd_cspn import BDCSPNHead
from fewshot.heads.transductive.label_propagation import LabelPropagationHead
from fewshot.heads.transductive.laplacian_shot import LaplacianShotHead
from fewshot.heads.transductive.prototype_adaptation import PrototypeAdaptationHead
from fewshot.heads.transductive.pt_map import PTMAPHead
from fewshot.heads.transductive.slk import SLKHead
from fewshot.heads.transductive.soft_kmeans import SoftKMeansHead
from fewshot.heads.transductive.tim import TIMHead

from .conftest import clustered

HEADS = {
    "laplacian shot": lambda: LaplacianShotHead(),
    "laplacian shot psd": lambda: LaplacianShotHead(graph="psd", rectify=False),
    "slk means": lambda: SLKHead("means"),
    "slk modes": lambda: SLKHead("modes"),
    "k means": lambda: SLKHead("means", weight=0.0),
    "soft k-means": lambda: SoftKMeansHead(3),
    "bd-cspn": lambda: BDCSPNHead(),
    "label propagation": lambda: LabelPropagationHead(sigma=0.5, neighbours=4),
    "tim adm": lambda: TIMHead("adm", temperature=3.0, iterations=30),
    "tim gd": lambda: TIMHead("gd", temperature=3.0, iterations=30, lr=1e-2),
    "alpha-tim": lambda: TIMHead("gd", alpha=2.0, weights=(1.0, 1.0, 1.0), temperature=3.0, iterations=30, lr=1e-2),
    "pt-map": lambda: PTMAPHead(),
    "pt-map unbalanced": lambda: PTMAPHead(balance=0.3),
    "prototype adaptation": lambda: PrototypeAdaptationHead(),
}
PROBABILITIES = ("laplacian shot", "slk", "k means", "tim", "alpha-tim", "pt-map")


@pytest.fixture(params=HEADS)
def named_head(request):
    return request.param, HEADS[request.param]()


@pytest.fixture
def head(named_head):
    return named_head[1]


def test_permuting_classes_permutes_columns(head, episodes):
    order = torch.tensor([2, 0, 1])
    relabelled = Episodes(
        episodes.support, order[episodes.support_labels], episodes.query, order[episodes.query_labels], episodes.classes
    )
    torch.testing.assert_close(head(relabelled)[..., order], head(episodes), rtol=0, atol=1e-7)


def test_permuting_queries_permutes_rows(head, episodes):
    order = torch.randperm(13, generator=torch.Generator().manual_seed(5))
    shuffled = Episodes(
        episodes.support,
        episodes.support_labels,
        episodes.query[:, order],
        episodes.query_labels[:, order],
        episodes.classes,
    )
    torch.testing.assert_close(head(shuffled), head(episodes)[:, order], rtol=0, atol=1e-7)


def test_support_order_does_not_matter(head, episodes):
    order = torch.randperm(6, generator=torch.Generator().manual_seed(1))
    shuffled = Episodes(
        episodes.support[:, order],
        episodes.support_labels[:, order],
        episodes.query,
        episodes.query_labels,
        episodes.classes,
    )
    torch.testing.assert_close(head(shuffled), head(episodes), rtol=0, atol=1e-7)


def test_a_task_is_scored_without_the_others(head):
    # Tasks of very different difficulty, which are done after different numbers of rounds.
    parts = [clustered(1, (1, 1, 1), (4, 4, 4), spread=spread, seed=i) for i, spread in enumerate((0.05, 0.8, 3.0))]
    together = Episodes(*map(torch.cat, zip(*(part.tensors() for part in parts), strict=True)))
    scores = head(together)
    for b, part in enumerate(parts):
        torch.testing.assert_close(head(part)[0], scores[b], rtol=0, atol=1e-9)


def test_a_query_is_scored_with_the_others(head, episodes):
    assert head.transductive
    half = Episodes(
        episodes.support, episodes.support_labels, episodes.query[:, :6], episodes.query_labels[:, :6], episodes.classes
    )
    assert (head(half) - head(episodes)[:, :6]).abs().max() > 1e-3


def test_probabilities_of_a_query_sum_to_one(named_head, episodes):
    name, head = named_head
    if not name.startswith(PROBABILITIES):
        pytest.skip("scores are no log-probabilities")
    torch.testing.assert_close(head(episodes).exp().sum(-1), torch.ones(3, 13, dtype=torch.float64))


def test_clusters_far_apart_are_found_in_either_precision(head):
    far = clustered(4, (1, 1, 1), (5, 5, 5), spread=0.02, dimension=12)
    assert torch.equal(head(far).argmax(-1), far.query_labels)
    single = Episodes(far.support.float(), far.support_labels, far.query.float(), far.query_labels, far.classes)
    assert torch.equal(head(single).argmax(-1), far.query_labels)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", ["one query", "duplicates", "all the same", "zeros", "empty class", "huge", "wide"])
def test_scores_stay_finite(head, case, dtype):
    counts = {"empty class": (8, 0, 4), "one query": (1, 0, 0)}.get(case, (4, 4, 4))
    episodes = clustered(counts=counts, dimension=100 if case == "wide" else 8)
    support, query = episodes.support.to(dtype), episodes.query.to(dtype)
    if case == "duplicates":
        query[:, 1::2] = query[:, ::2]
        query[:, 0] = support[:, 0]
    if case == "all the same":
        support, query = torch.ones_like(support), torch.ones_like(query)
    if case == "zeros":
        support[:, 0], query[:, :3] = 0, 0
    if case == "huge":
        support, query = 1e3 * support, 1e3 * query
    scores = head(episodes.with_items(support, query))
    assert scores.isfinite().all()
    assert scores.dtype == dtype
    assert scores.shape == (3, sum(counts), 3)


WITHOUT = {
    "laplacian shot": LaplacianShotHead(weight=0.0, rectify=False),
    "laplacian shot without rounds": LaplacianShotHead(weight=5.0, rectify=False, iterations=0),
    "slk": SLKHead("means", weight=0.0, shift=False, steps=0),
    "soft k-means": SoftKMeansHead(0),
    "tim adm": TIMHead("adm", iterations=0),
    "tim gd": TIMHead("gd", iterations=0),
}


@pytest.mark.parametrize("name", WITHOUT)
def test_without_rounds_or_weight_it_is_the_nearest_class_mean(name):
    hard = clustered(8, (2, 2, 2), (20, 20, 20), spread=1.5)
    expected = PrototypeHead()(hard).argmax(-1)
    assert torch.equal(WITHOUT[name](hard).argmax(-1), expected)
    assert not torch.equal(expected, hard.query_labels)
