"""Random episodes of features for losses."""

import torch

from fewshot.episodes.episodes import Episodes


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def episodes_of(way=3, shot=2, query=4, dimension=6, tasks=3, spread=1.0, seed=0) -> Episodes:
    """Classes around random centres, `spread` apart; `query` items of each."""
    centres = spread * random(tasks, way, dimension, seed=seed)
    support_labels = torch.arange(way).repeat_interleave(shot).expand(tasks, -1).contiguous()
    query_labels = torch.arange(way).repeat(query).expand(tasks, -1).contiguous()

    def around(labels, seed):
        return centres.gather(1, labels[..., None].expand(-1, -1, dimension)) + random(
            *labels.shape, dimension, seed=seed
        )

    support, queries = around(support_labels, seed + 1), around(query_labels, seed + 2)
    return Episodes(support, support_labels, queries, query_labels, torch.arange(way).expand(tasks, -1))


def no_logits(episodes):
    return torch.zeros(len(episodes), episodes.query.shape[1], episodes.way, dtype=torch.float64)


def pooled(episodes, b):
    """Features and labels of one task, support before queries."""
    return (
        torch.cat([episodes.support[b], episodes.query[b]]),
        torch.cat([episodes.support_labels[b], episodes.query_labels[b]]),
    )
