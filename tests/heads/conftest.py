"""Random episodes of features for heads."""

import torch

from fewshot.episodes.episodes import Episodes


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def episodes_of(shots=(2, 2, 2), query=12, dimension=6, tasks=4, seed=0) -> Episodes:
    labels = torch.arange(len(shots)).repeat_interleave(torch.tensor(shots)).expand(tasks, -1)
    return Episodes(
        support=random(tasks, labels.shape[1], dimension, seed=seed),
        support_labels=labels.contiguous(),
        query=random(tasks, query, dimension, seed=seed + 1),
        query_labels=(torch.arange(query) % len(shots)).expand(tasks, -1).contiguous(),
        classes=torch.arange(len(shots)).expand(tasks, -1),
    )
