"""Shifts and mirror images of a batch."""

import torch
from jaxtyping import Int64, Shaped
from torch import Tensor
from torch.nn.functional import pad


def moved(
    images: Shaped[Tensor, "n c h w"],
    mirrored: Int64[Tensor, " n"],
    upside_down: Int64[Tensor, " n"],
    down: Int64[Tensor, " n"],
    right: Int64[Tensor, " n"],
    shift: int,
) -> Shaped[Tensor, "n c h w"]:
    """Each image cut out of itself with `shift` pixels of its edge around it, then mirrored or not.

    Args:
        images: of any type.
        mirrored: 1 where left and right change places.
        upside_down: 1 where top and bottom do.
        down: first row of the cut, 0 to twice `shift`.
        right: first column of the cut.
        shift: pixels around the image.
    """
    padded = pad(images, (shift,) * 4, mode="replicate") if shift else images
    cut = cut_one_by_one if images.device.type == "cpu" else cut_together
    return cut(padded, mirrored, upside_down, down, right, images.shape[2:])


def cut_one_by_one(
    padded: Tensor, mirrored: Tensor, upside_down: Tensor, down: Tensor, right: Tensor, size: torch.Size
) -> Tensor:
    """The cuts of `moved`, image after image: the fastest way on a CPU, which copies rows."""
    height, width = size
    out = padded.new_empty((*padded.shape[:2], height, width))
    numbers = (part.tolist() for part in (mirrored, upside_down, down, right))
    for i, (across, over, top, left) in enumerate(zip(*numbers, strict=True)):
        part = padded[i, :, top : top + height, left : left + width]
        dims = [dim for dim, turned in ((1, over), (2, across)) if turned]
        out[i] = part.flip(dims) if dims else part
    return out


def cut_together(
    padded: Tensor, mirrored: Tensor, upside_down: Tensor, down: Tensor, right: Tensor, size: torch.Size
) -> Tensor:
    """The cuts of `moved` all at once."""
    n, device, (height, width) = len(padded), padded.device, size
    rows, columns = (torch.arange(side, device=device).expand(n, -1) for side in (height, width))
    rows = torch.where(upside_down.bool()[:, None], height - 1 - rows, rows) + down[:, None]
    columns = torch.where(mirrored.bool()[:, None], width - 1 - columns, columns) + right[:, None]
    # Advanced indices around a slice put the channels last: a channels-last image in memory.
    each = torch.arange(n, device=device)[:, None, None]
    return padded[each, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
