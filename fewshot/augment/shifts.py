"""Shifts and mirror images of a batch."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import pad


def moved(
    images: Float[Tensor, "n c h w"],
    mirrored: Int64[Tensor, " n"],
    upside_down: Int64[Tensor, " n"],
    down: Int64[Tensor, " n"],
    right: Int64[Tensor, " n"],
    shift: int,
) -> Float[Tensor, "n c h w"]:
    """Each image cut out of itself with `shift` pixels of its edge around it, then mirrored or not.

    On a CPU one image after the other, elsewhere all at once, with the same result.

    Args:
        images: of any type.
        mirrored: 1 where left and right change places.
        upside_down: 1 where top and bottom do.
        down: first row of the cut, 0 to twice `shift`.
        right: first column of the cut.
        shift: pixels around the image.
    """
    n, _, height, width = images.shape
    padded = pad(images, (shift,) * 4, mode="replicate") if shift else images
    if images.device.type == "cpu":
        out = torch.empty_like(images, memory_format=torch.contiguous_format)
        for i, (across, over, top, left) in enumerate(
            zip(mirrored.tolist(), upside_down.tolist(), down.tolist(), right.tolist(), strict=True)
        ):
            part = padded[i, :, top : top + height, left : left + width]
            dims = [dim for dim, turned in ((1, over), (2, across)) if turned]
            out[i] = part.flip(dims) if dims else part
        return out
    rows = torch.arange(height, device=images.device).expand(n, -1)
    columns = torch.arange(width, device=images.device).expand(n, -1)
    rows = torch.where(upside_down.bool()[:, None], height - 1 - rows, rows) + down[:, None]
    columns = torch.where(mirrored.bool()[:, None], width - 1 - columns, columns) + right[:, None]
    # Advanced indices around a slice put the channels last: a channels-last image in memory.
    each = torch.arange(n, device=images.device)[:, None, None]
    return padded[each, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
