"""Label propagation against its fixed point and a plain graph."""

import math

import pytest
import torch

from fewshot.errors import FewshotError
from fewshot.heads.transductive.label_propagation import LabelPropagationHead

from .conftest import clustered, squared, task_by_task


def plain(head, sigma):
    def score(support, labels, query):
        items, s = torch.cat([support, query]), len(support)
        m = len(items)
        w = torch.zeros(m, m, dtype=torch.float64)
        for i in range(m):
            for j in range(m):
                w[i, j] = math.exp(-squared(items[i], items[j]) / items.shape[1] / (2 * sigma**2)) if i != j else 0
        loops = torch.eye(m, dtype=torch.float64) if head.self_loops else 0
        kept = torch.zeros(m, m, dtype=torch.bool)
        for i in range(m):
            for j in w[i].argsort(descending=True)[: head.neighbours]:
                kept[i, j] = kept[j, i] = True
        w = w * kept + loops
        d = w.sum(1)
        s_matrix = w / (d[:, None] * d).sqrt()
        y = torch.zeros(m, 3, dtype=torch.float64)
        y[range(s), labels] = 1
        f = torch.zeros_like(y)
        for _ in range(20000):
            f = head.alpha * s_matrix @ f + (1 - head.alpha) * y
        return f[s:] / (1 - head.alpha)

    return score


@pytest.mark.parametrize("self_loops", [True, False])
@pytest.mark.parametrize("alpha", [0.5, 0.99])
def test_it_is_the_fixed_point_of_spreading(episodes, alpha, self_loops):
    head = LabelPropagationHead(alpha, neighbours=4, sigma=0.5, self_loops=self_loops)
    torch.testing.assert_close(head(episodes), task_by_task(episodes, plain(head, 0.5)), rtol=1e-6, atol=1e-8)
    assert head(episodes).min() >= 0


def test_without_spreading_queries_get_no_label(episodes):
    assert LabelPropagationHead(alpha=0.0)(episodes).abs().max() == 0


def test_one_label_fills_a_block_of_the_graph():
    tasks = clustered(3, (1, 1, 1), (6, 6, 6), spread=0.02)
    scores = LabelPropagationHead(neighbours=3, sigma=0.1)(tasks)
    assert torch.equal(scores.argmax(-1), tasks.query_labels)
    assert scores.gather(2, tasks.query_labels[..., None]).min() > 0.1


def test_it_is_trained_through_features_and_width():
    tasks = clustered(dimension=5)
    head = LabelPropagationHead(0.9, neighbours=5, sigma=0.7, learn_sigma=True).double()
    support = tasks.support.requires_grad_()

    def loss(items):
        scores = head(tasks.with_items(items, tasks.query))
        return torch.nn.functional.cross_entropy(scores.flatten(0, 1), tasks.query_labels.flatten())

    assert torch.autograd.gradcheck(loss, support)
    loss(support).backward()
    assert head.log_sigma.grad.abs() > 0


def test_with_its_own_weight_an_item_far_from_all_others_hardly_counts_them():
    tasks = clustered(3, (1, 1, 1), (6, 6, 6), spread=0.02)
    query = tasks.query.clone()
    query[:, 0] += 5.0
    far = tasks.with_items(tasks.support, query)
    with_loops, without = (
        LabelPropagationHead(sigma=0.3, self_loops=loops).graph(torch.cat([far.support, far.query], 1))
        for loops in (True, False)
    )
    assert with_loops[:, 3, 3].min() > 0.999
    assert without[:, 3, 3].max() == 0
    torch.testing.assert_close((without > 0).sum(-1), ((with_loops > 0).sum(-1) - 1))


@pytest.mark.parametrize("options", [{"alpha": 1.0}, {"neighbours": 0}, {"sigma": 0.0}])
def test_numbers_out_of_range_are_refused(options):
    (name,) = options
    with pytest.raises(FewshotError, match=rf"head\.{name}="):
        LabelPropagationHead(**options)
