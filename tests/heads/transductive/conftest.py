"""Clustered tasks for transductive heads, in double precision."""

import pytest
import torch

from fewshot.episodes.episodes import Episodes


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def clustered(tasks=3, shots=(1, 1, 1), counts=(4, 4, 4), dimension=8, spread=0.6, seed=0) -> Episodes:
    """Items around one random centre for each class; `counts` queries of each, in a shuffled order."""
    way = len(shots)
    labels = torch.arange(way).repeat_interleave(torch.tensor(shots)).expand(tasks, -1).contiguous()
    order = torch.randperm(sum(counts), generator=torch.Generator().manual_seed(seed))
    query_labels = torch.arange(way).repeat_interleave(torch.tensor(counts))[order].expand(tasks, -1).contiguous()
    centres = random(tasks, way, dimension, seed=seed)

    def around(labels, seed):
        noise = spread * random(*labels.shape, dimension, seed=seed)
        return centres.gather(1, labels[..., None].expand(-1, -1, dimension)) + noise

    return Episodes(
        around(labels, seed + 1),
        labels,
        around(query_labels, seed + 2),
        query_labels,
        torch.arange(way).expand(tasks, -1),
    )


@pytest.fixture
def episodes():
    return clustered(shots=(2, 1, 3), counts=(5, 2, 6))


def task_by_task(episodes, function):
    """`function(support, labels, query)` of one task at a time, stacked."""
    return torch.stack(
        [function(s, y, x) for s, y, x in zip(episodes.support, episodes.support_labels, episodes.query, strict=True)]
    )


def squared(x, y):
    return float((x - y).square().sum())


def means(items, labels, way):
    return torch.stack([items[labels == c].mean(0) for c in range(way)])


def plain_sinkhorn(cost, sharpness, rounds=20000):
    """The transport of one task by scaling columns and rows in turn."""
    p = (-sharpness * cost).exp()
    for _ in range(rounds):
        p = p * (len(cost) / cost.shape[1]) / p.sum(0, keepdim=True)
        p = p / p.sum(1, keepdim=True)
    return p
