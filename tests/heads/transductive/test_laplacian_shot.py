"""LaplacianShot, BD-CSPN and soft k-means against plain loops, and what their objective promises."""

import math

import pytest
import torch

from fewshot.distances.euclidean import squared_euclidean
from fewshot.errors import FewshotError
from fewshot.heads.transductive.bd_cspn import BDCSPNHead
from fewshot.heads.transductive.laplacian_shot import LaplacianShotHead, bound_updates
from fewshot.heads.transductive.neighbours import neighbour_graph
from fewshot.heads.transductive.soft_kmeans import SoftKMeansHead

from .conftest import clustered, means, random, squared, task_by_task


def plain_graph(points, k, kind):
    n = len(points)
    weights = torch.zeros(n, n, dtype=torch.float64)
    for i in range(n):
        others = sorted((squared(points[i], points[j]), j) for j in range(n) if j != i)
        for _, j in others[:k]:
            weights[i, j] = 1
    if kind == "directed":
        return weights
    weights = (weights + weights.T) / 2
    return weights + torch.diag(weights.sum(1)) if kind == "psd" else weights


def plain_rectified(support, labels, query, way, sharpness, norm):
    centres = means(support, labels, way)
    rows = {c: [] for c in range(way)}
    for item in [*support, *query]:
        cosines = torch.stack([torch.dot(item, m) / (item.norm() * m.norm()) for m in centres])
        c = int(cosines.argmax())
        rows[c].append(((sharpness * cosines).softmax(0)[c], item))
    out = centres.clone()
    for c, members in rows.items():
        if members:
            total = sum(w for w, _ in members) if norm == "weights" else len(members)
            out[c] = sum(w * item for w, item in members) / total
    return out


def plain_laplacian_shot(head):
    def score(support, labels, query):
        way = int(labels.max()) + 1
        centres = means(support, labels, way)
        if head.rectify:
            query = query + support.mean(0) - query.mean(0)
            centres = plain_rectified(support, labels, query, way, 10.0, "count")
        cost = torch.tensor([[squared(x, m) for m in centres] for x in query], dtype=torch.float64)
        graph = plain_graph(query, head.neighbours, head.graph)
        y, energy = (-cost).softmax(1), None
        for _ in range(head.iterations):
            new = float((y * y.log()).sum() + (y * cost).sum() - head.weight * (y * (graph @ y)).sum())
            if energy is not None and abs(energy - new) <= head.tolerance * abs(energy):
                break
            y = torch.stack(
                [
                    (-cost[q] + head.weight * sum(graph[q, p] * y[p] for p in range(len(y)))).softmax(0)
                    for q in range(len(y))
                ]
            )
            energy = new
        return y.log()

    return score


@pytest.mark.parametrize("graph", ["directed", "symmetric", "psd"])
@pytest.mark.parametrize(("weight", "rectify"), [(0.3, True), (1.0, False), (5.0, True)])
def test_it_is_the_plain_loop(episodes, graph, weight, rectify):
    head = LaplacianShotHead(weight, graph=graph, rectify=rectify)
    expected = task_by_task(episodes, plain_laplacian_shot(head))
    torch.testing.assert_close(head(episodes), expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("weight", [0.3, 0.7, 1.0, 5.0, 20.0])
def test_the_objective_never_rises_on_a_semidefinite_graph(weight):
    tasks = clustered(200, (1, 1, 1, 1, 1), (15,) * 5, dimension=16, spread=1.0)
    cost = squared_euclidean(tasks.query, tasks.support)
    graph = neighbour_graph(tasks.query, 2, "psd")
    values = []
    for scores in bound_updates(cost, graph, weight, iterations=40, tolerance=0.0):
        y = scores.exp()
        entropy = torch.special.xlogy(y, y).sum((1, 2))
        values.append(entropy + (y * cost).sum((1, 2)) - weight / 2 * (y * (graph @ y)).sum((1, 2)))
    assert len(values) == 41
    assert torch.stack(values).diff(dim=0).max() < 1e-9
    assert torch.linalg.eigvalsh(graph).min() > -1e-9


def test_two_points_swing_on_a_graph_that_is_not_semidefinite():
    cost, graph = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]]), torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])

    def last(weight):
        return list(bound_updates(cost, graph, weight, 201, 0.0))[-2:]

    calm, wild = last(1.0), last(10.0)
    torch.testing.assert_close(*calm)
    # One point changes sides with each step.
    assert (wild[0].argmax(-1) != wild[1].argmax(-1)).all()


def test_a_huge_weight_gives_a_connected_component_one_label():
    tasks = clustered(4, (1, 1, 1), (6, 6, 6), spread=0.05)
    labels = LaplacianShotHead(1e4, graph="psd", rectify=False)(tasks).argmax(-1)
    graph = neighbour_graph(tasks.query, 2, "symmetric")
    for b in range(4):
        i, j = graph[b].nonzero(as_tuple=True)
        assert torch.equal(labels[b, i], labels[b, j])


def test_a_point_is_no_neighbour_of_itself_even_among_its_copies():
    points = torch.zeros(1, 5, 3)
    assert neighbour_graph(points, 2, "directed").diagonal(dim1=1, dim2=2).sum() == 0
    graph = neighbour_graph(random(1, 3, 2), 10, "directed")
    assert torch.equal(graph[0], 1 - torch.eye(3, dtype=torch.float64))


@pytest.mark.parametrize("norm", ["weights", "count"])
def test_bd_cspn_is_the_plain_loop(episodes, norm):
    def score(support, labels, query):
        query = query + support.mean(0) - query.mean(0)
        centres = plain_rectified(support, labels, query, 3, 10.0, norm)
        return -torch.tensor([[squared(x, m) for m in centres] for x in query], dtype=torch.float64)

    torch.testing.assert_close(BDCSPNHead(norm=norm)(episodes), task_by_task(episodes, score), rtol=0, atol=1e-9)


def test_bd_cspn_does_not_see_where_the_queries_lie_as_a_whole(episodes):
    moved = episodes.with_items(episodes.support, episodes.query + 5.0)
    torch.testing.assert_close(BDCSPNHead()(moved), BDCSPNHead()(episodes))


def test_bd_cspn_of_queries_that_are_the_support_keeps_the_prototypes():
    tasks = clustered(3, (1, 1, 1), (1, 1, 1))
    same = tasks.with_items(tasks.support, tasks.support.clone())
    scores = BDCSPNHead()(same)
    torch.testing.assert_close(scores.diagonal(dim1=1, dim2=2), torch.zeros(3, 3, dtype=torch.float64))


def test_soft_k_means_is_the_plain_loop(episodes):
    def score(support, labels, query):
        centres = means(support, labels, 3)
        for _ in range(4):
            z = torch.stack([torch.tensor([-squared(x, m) for m in centres]).softmax(0) for x in query]).double()
            centres = torch.stack(
                [
                    (support[labels == c].sum(0) + sum(z[q, c] * query[q] for q in range(len(query))))
                    / ((labels == c).sum() + z[:, c].sum())
                    for c in range(3)
                ]
            )
        return -torch.tensor([[squared(x, m) for m in centres] for x in query], dtype=torch.float64)

    # The plain softmax is in single precision.
    torch.testing.assert_close(SoftKMeansHead(4)(episodes), task_by_task(episodes, score), rtol=0, atol=1e-4)


def test_the_gradient_of_soft_k_means_passes_by_its_assignments():
    tasks = clustered()
    support, query = tasks.support.requires_grad_(), tasks.query.requires_grad_()
    SoftKMeansHead(1)(tasks.with_items(support, query)).sum().backward()
    assert support.grad.isfinite().all()
    assert query.grad.abs().sum() > 0
    assert math.isfinite(float(query.grad.sum()))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: LaplacianShotHead(weight=-1.0), r"head\.weight=-1"),
        (lambda: LaplacianShotHead(neighbours=0), r"head\.neighbours=0"),
        (lambda: LaplacianShotHead(graph="dense"), r"head\.graph=dense; expected one of directed"),
        (lambda: BDCSPNHead(sharpness=0.0), r"head\.sharpness=0"),
        (lambda: BDCSPNHead(norm="sum"), r"head\.norm=sum"),
        (lambda: SoftKMeansHead(-1), r"head\.steps=-1"),
    ],
)
def test_numbers_out_of_range_are_refused(make, words):
    with pytest.raises(FewshotError, match=words):
        make()
