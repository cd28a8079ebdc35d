"""SLK-Means, SLK-MS, K-means and K-modes against plain loops, and what the objective promises."""

import pytest
import torch

from fewshot.errors import FewshotError
from fewshot.heads.transductive.neighbours import neighbour_graph
from fewshot.heads.transductive.slk import SLKHead

from .conftest import clustered, means, squared, task_by_task
from .test_laplacian_shot import plain_graph


def plain_slk(head):
    def score(support, labels, query):
        s, way = len(support), 3
        if head.shift:
            query = query + support.mean(0) - query.mean(0)
        items = torch.cat([support, query])
        m = len(items)
        graph = plain_graph(items, head.neighbours, head.graph)
        directed = plain_graph(items, head.neighbours, "directed")
        width = sum(directed[i, j] * squared(items[i], items[j]) for i in range(m) for j in range(m)) / (5 * m)
        centres = means(support, labels, way)
        known = torch.nn.functional.one_hot(labels, way).double()
        cost = torch.stack([(x - centres).square().sum(1) for x in items])
        scores = (-cost).log_softmax(1)
        now = torch.cat([labels, scores[s:].argmax(1)])
        for _ in range(head.steps):
            for c in range(way):
                members = items[now == c]
                if len(members) == 0:
                    continue
                if head.centres == "means":
                    centres[c] = members.mean(0)
            if head.centres == "modes":
                # All modes of a task move until none of them does.
                for _ in range(1000):
                    before = centres.clone()
                    for c in range(way):
                        members = items[now == c]
                        if len(members):
                            g = (-(members - before[c]).square().sum(1) / (2 * width)).exp()
                            if g.sum() > 0:
                                centres[c] = (g[:, None] * members).sum(0) / g.sum()
                    if (centres - before).norm(dim=1).max() / before.norm(dim=1).max() <= 1e-5:
                        break
            cost = torch.stack([(x - centres).square().sum(1) for x in items])
            if head.centres == "modes":
                cost = -(-cost / (2 * width)).exp()
            scores = (-cost).log_softmax(1)
            if head.weight:
                z = torch.cat([known, scores[s:].exp()])
                for _ in range(head.iterations):
                    scores = (-cost + head.weight * graph @ z).log_softmax(1)
                    new = scores.exp()
                    if head.clamp_support:
                        new[:s] = known
                    done = (new - z).abs().max() <= head.tolerance
                    z = new
                    if done:
                        break
            new = scores.argmax(1)
            if head.clamp_support:
                new[:s] = labels
            if torch.equal(new, now):
                break
            now = new
        return scores[s:]

    return score


@pytest.mark.parametrize("centres", ["means", "modes"])
@pytest.mark.parametrize(("weight", "graph"), [(0.0, "directed"), (0.5, "directed"), (1.0, "psd")])
@pytest.mark.parametrize("clamp", [True, False])
def test_it_is_the_plain_loop(episodes, centres, weight, graph, clamp):
    head = SLKHead(centres, weight, graph=graph, clamp_support=clamp)
    torch.testing.assert_close(head(episodes), task_by_task(episodes, plain_slk(head)), rtol=0, atol=1e-6)


def test_one_step_without_weight_or_shift_is_k_means_from_the_class_means():
    tasks = clustered(6, (2, 2, 2), (9, 9, 9), spread=1.5)
    nearest = torch.cdist(
        tasks.query, torch.stack([means(s, y, 3) for s, y in zip(tasks.support, tasks.support_labels, strict=True)])
    )
    assert torch.equal(SLKHead(weight=0.0, shift=False, steps=0)(tasks).argmax(-1), nearest.argmin(-1))


def test_the_relaxed_objective_never_rises_on_a_semidefinite_graph():
    tasks = clustered(100, (1, 1, 1), (8, 8, 8), spread=1.0)
    items = torch.cat([tasks.support, tasks.query], 1)
    graph, weight = neighbour_graph(items, 2, "psd"), 1.0
    known = torch.nn.functional.one_hot(tasks.support_labels, 3).double()
    head = SLKHead("means", weight, graph="psd", iterations=1)

    def objective(z, centres):
        cost = (items[:, :, None] - centres[:, None]).square().sum(-1)
        entropy = torch.special.xlogy(z, z).sum((1, 2))
        return entropy + (z * cost).sum((1, 2)) - weight / 2 * (z * (graph @ z)).sum((1, 2))

    centres, z, values = tasks.support, None, []
    for _ in range(10):
        scores = head._assign(items, centres, graph, known, torch.ones(100, 1, 1, dtype=torch.float64))
        z = torch.cat([known, scores[:, 3:].exp()], 1)
        for _ in range(5):
            values.append(objective(z, centres))
            cost = (items[:, :, None] - centres[:, None]).square().sum(-1)
            z = torch.cat([known, (-cost + weight * graph @ z).softmax(-1)[:, 3:]], 1)
        values.append(objective(z, centres))
        centres = (z.transpose(1, 2) @ items) / z.sum(1)[..., None]
        values.append(objective(z, centres))
        # The inner start is anew at each round, so only what follows it is compared.
        assert torch.stack(values).diff(dim=0).max() < 1e-9
        values = []


@pytest.mark.parametrize(
    "options",
    [{"centres": "medians"}, {"weight": -1.0}, {"graph": "dense"}, {"neighbours": 0}, {"steps": -1}, {"iterations": 0}],
)
def test_numbers_out_of_range_are_refused(options):
    (name,) = options
    with pytest.raises(FewshotError, match=rf"head\.{name}="):
        SLKHead(**options)
