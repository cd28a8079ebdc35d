"""Changes of images by numbers drawn before, a few images at a time."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

Change = tuple[Callable[..., Tensor], Sequence[Tensor]]
"""What makes new images of images `[n, c, h, w]` and of tensors with a row for each of them, and those tensors."""

# A part of a core's second-level cache, with room for the copies that a change makes.
_CHUNK_BYTES = 1024 * 1024


def chunks(count: int, numbers: int, device: torch.device) -> Iterator[slice]:
    """So many images of so many floats: a few at a time on a CPU, so that they stay in its cache, all at once elsewhere."""
    size = max(1, _CHUNK_BYTES // (4 * max(1, numbers))) if device.type == "cpu" else max(1, count)
    for start in range(0, count, size):
        yield slice(start, start + size)


def changed(images: Tensor, changes: Sequence[Change], rows: slice) -> Tensor:
    """Some images after all changes, which are given the same rows of their numbers."""
    for change, numbers in changes:
        images = change(images, *(number[rows] for number in numbers))
    return images
