"""From stored uint8 pixels to the floats that a network sees."""

import math
from collections.abc import Callable
from functools import lru_cache
from itertools import takewhile

import torch
from torch import Tensor

from fewshot.augment.changes import changed, chunks

Augment = Callable[[Tensor, torch.Generator], Tensor]
"""Images `[n, c, h, w]` with values in 0..1 to changed copies of them; the generator lives on their device.

One that has `changes(n, height, width, generator)`, as `ImageAugment`, is done a few images at a time. One that makes squares of
another size says so by `makes_size`, their side in pixels, so that tests see that size too.
"""


def size_after(augment: Augment | None, height: int, width: int) -> tuple[int, int]:
    """Height and width of images that `augment` has changed."""
    side = getattr(augment, "makes_size", None)
    return (height, width) if side is None else (side, side)


def layout_of(channels_last: bool) -> torch.memory_format:
    return torch.channels_last if channels_last else torch.contiguous_format


def gather_images(
    items: Tensor,
    index: Tensor,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    channels_last: bool = False,
    out: Tensor | None = None,
) -> Tensor:
    """Pick images and normalise them, on the device where they lie.

    Args:
        items: uint8 `[n, c, h, w]`.
        index: int64 `[m]`, on the same device.
        mean: per channel, of pixels in 0..1.
        std: per channel.
        channels_last: memory layout of the result.
        out: float32 `[m, c, h, w]` to write into instead of fresh memory.

    Returns:
        float32 `[m, c, h, w]`: `(pixel / 255 - mean) / std`.
    """
    layout = layout_of(channels_last)
    shape = (len(index), *items.shape[1:])
    if out is None:
        out = torch.empty(shape, dtype=torch.float32, device=items.device, memory_format=layout)
    scale = _of_channels(tuple(1 / (255 * s) for s in std), items.device)
    shift = _of_channels(tuple(-m / s for m, s in zip(mean, std, strict=True)), items.device)
    for rows in chunks(len(index), items[0].numel(), items.device):
        picked, part = items.index_select(0, index[rows]), out[rows]
        if part.is_contiguous():
            part.copy_(picked).mul_(scale).add_(shift)
        else:
            # Floats are put into another layout three times as fast as bytes.
            part.copy_(picked.float().mul_(scale).add_(shift))
    return out


# A GPU is interrupted for each transfer, and these are the same at each step.
@lru_cache(maxsize=64)
def _of_channels(numbers: tuple[float, ...], device: torch.device) -> Tensor:
    """A number for each channel, `[c, 1, 1]`, on a device; nobody may write into it."""
    with torch.inference_mode(False):
        return torch.tensor(numbers, dtype=torch.float32, device=device).view(-1, 1, 1)


def training_images(
    items: Tensor,
    index: Tensor,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    augment: Augment | None,
    seed: int,
    channels_last: bool = False,
) -> Tensor:
    """`gather_images` with `augment` between the pixels in 0..1 and their normalisation.

    Args:
        items, index, mean, std, channels_last: those of `gather_images`.
        augment: changes the images; None leaves them as they are.
        seed: of its random numbers, which depend on nothing else.
    """
    if augment is None:
        return gather_images(items, index, mean, std, channels_last=channels_last)
    generator = torch.Generator(items.device).manual_seed(seed)
    mean, std = (_of_channels(tuple(part), items.device) for part in (mean, std))
    if not hasattr(augment, "changes"):
        images = augment(items.index_select(0, index).float().div_(255), generator)
        return ((images - mean) / std).contiguous(memory_format=layout_of(channels_last))
    shape = (len(index), items.shape[1], *size_after(augment, *items.shape[2:]))
    out = torch.empty(shape, device=items.device, memory_format=layout_of(channels_last))
    changes = augment.changes(len(index), *items.shape[2:], generator)
    moves = list(takewhile(lambda change: change.moves, changes))
    others = changes[len(moves) :]
    for rows in chunks(len(index), math.prod(shape[1:]), items.device):
        images = changed(items.index_select(0, index[rows]), moves, rows).float().div_(255)
        out[rows] = changed(images, others, rows).sub_(mean).div_(std)
    return out
