"""Which item of a task goes with which of another: the k-th of a class with the k-th of its partner class."""

import torch
from jaxtyping import Int64
from torch import Tensor

from fewshot.errors import FewshotError


def counterparts(
    labels: Int64[Tensor, "b m"], partner_labels: Int64[Tensor, "b m"], slots: Int64[Tensor, "b n"], shift: int = 0
) -> Int64[Tensor, "b m"]:
    """For each item, the k-th of class n, the index of the k-th item of class `slots[n]` of its partner task.

    Where the partner class has fewer items they are counted round again.

    Args:
        labels: of the tasks' items.
        partner_labels: of the items of each task's partner.
        slots: the partner class of each class.
        shift: the (k + shift)-th instead.

    Raises:
        FewshotError: a partner class has no items.
    """
    order, first, count = _sorted(partner_labels, slots.shape[1])
    mine, mine_first, _ = _sorted(labels, slots.shape[1])
    ascending = labels.gather(1, mine)
    rank = torch.arange(labels.shape[1], device=labels.device) - mine_first.gather(1, ascending)
    rank = torch.zeros_like(labels).scatter(1, mine, rank)
    partner = slots.gather(1, labels)
    available = count.gather(1, partner)
    if bool((available == 0).any()):
        raise FewshotError(
            "task_augmentation pairs classes, and a class of these tasks has no queries; use episodes.train.dirichlet=null"
        )
    return order.gather(1, first.gather(1, partner) + (rank + shift) % available)


def _sorted(labels: Tensor, way: int) -> tuple[Tensor, Tensor, Tensor]:
    """The items of each task class by class, where each class begins, and how many it has."""
    count = (labels[..., None] == torch.arange(way, device=labels.device)).sum(1)
    return labels.argsort(dim=1, stable=True), count.cumsum(1) - count, count


def taken(items: Tensor, task: Int64[Tensor, " b"], index: Int64[Tensor, "b m"]) -> Tensor:
    """Items `index[b]` of task `task[b]`, for items `[B, M, ...]`."""
    flat = (task[:, None] * items.shape[1] + index).flatten()
    return items.flatten(0, 1).index_select(0, flat).unflatten(0, index.shape)
