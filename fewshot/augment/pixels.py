"""From stored uint8 pixels to the floats that a network sees."""

from collections.abc import Callable

import torch
from torch import Tensor

Augment = Callable[[Tensor, torch.Generator], Tensor]
"""Images `[n, c, h, w]` with values in 0..1 to changed copies of them; the generator lives on their device."""

# About half of a core's second-level cache: the gathered bytes are still there when they are converted.
_CHUNK_BYTES = 256 * 1024


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
    layout = torch.channels_last if channels_last else torch.contiguous_format
    shape = (len(index), *items.shape[1:])
    if out is None:
        out = torch.empty(shape, dtype=torch.float32, device=items.device, memory_format=layout)
    scale = torch.tensor([1 / (255 * s) for s in std], device=items.device).view(-1, 1, 1)
    shift = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)], device=items.device).view(-1, 1, 1)
    chunk = len(index)
    if items.device.type == "cpu":
        chunk = max(1, _CHUNK_BYTES // (4 * items[0].numel()))
    for start in range(0, len(index), max(1, chunk)):
        part = out[start : start + chunk]
        part.copy_(items.index_select(0, index[start : start + chunk]))
        part.mul_(scale).add_(shift)
    return out


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
    plain = (0.0,) * len(mean), (1.0,) * len(std)
    images = gather_images(items, index, *plain, channels_last=channels_last)
    images = augment(images, torch.Generator(items.device).manual_seed(seed))
    mean, std = (torch.tensor(part, device=images.device).view(-1, 1, 1) for part in (mean, std))
    return images.sub_(mean).div_(std)
