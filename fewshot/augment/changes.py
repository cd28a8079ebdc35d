"""Changes of images by numbers drawn before, a few images at a time."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Change:
    """What is done to images, with numbers for each.

    Args:
        make: new images of images `[n, c, h, w]` and the rows of `numbers` that are theirs; it may write over those it is given.
        numbers: tensors with a row for each image.
        moves: pixels only change places, so that it can be done to bytes, at a quarter of the work.
    """

    make: Callable[..., Tensor]
    numbers: Sequence[Tensor]
    moves: bool = False


# A part of a core's second-level cache, with room for the copies that a change makes.
_CHUNK_BYTES = 1024 * 1024


def chunks(count: int, numbers: int, device: torch.device) -> Iterator[slice]:
    """So many images of so many floats: a few at a time on a CPU, so that they stay in its cache, all at once elsewhere."""
    size = max(1, _CHUNK_BYTES // (4 * max(1, numbers))) if device.type == "cpu" else max(1, count)
    for start in range(0, count, size):
        yield slice(start, start + size)


def changed(images: Tensor, changes: Sequence[Change], rows: slice) -> Tensor:
    """Some images after all changes, which are given the same rows of their numbers and may write over these images."""
    for change in changes:
        images = change.make(images, *(number[rows] for number in change.numbers))
    return images
