"""Work that several processes share: each does some of the batches that one process would do, and all get all results."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fewshot.device import processes


def rank() -> int:
    """Number of this process among those that work together, from 0."""
    return torch.distributed.get_rank() if processes() > 1 else 0


def own_share(batches: Sequence) -> list[tuple[int, object]]:
    """The batches that are this process's, with their numbers.

    Batches are whole ones, so that what is computed of one does not depend on how many processes there are.
    """
    return list(enumerate(batches))[rank() :: processes()]


def put_together(values: Tensor) -> Tensor:
    """Values of all processes, each of which left zeros where it did nothing: exact, as nothing is added to a value but zeros."""
    if processes() > 1:
        torch.distributed.all_reduce(values)
    return values


def of_the_first(value: Tensor) -> Tensor:
    """Put the first process's value in place of each other's."""
    if processes() > 1:
        torch.distributed.broadcast(value, 0)
    return value


def same_buffers(module: nn.Module) -> None:
    """Give the first process's buffers to all."""
    for buffer in module.buffers():
        of_the_first(buffer)
