"""Random resized crops of a batch."""

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor

# As many tries as torchvision makes before it takes the largest middle part.
_TRIES = 10


def draw_boxes(
    n: int,
    height: int,
    width: int,
    scale: tuple[float, float],
    ratio: tuple[float, float],
    generator: torch.Generator,
) -> Int64[Tensor, "n 4"]:
    """Top, left, height and width of a random part of each image.

    Its area is uniform in `scale` of the image's, the logarithm of width / height uniform in that of `ratio`; where none of
    ten such parts fits, the largest middle part with an allowed ratio.
    """
    device = generator.device
    u = torch.rand(4, n, _TRIES, generator=generator, device=device)
    area = height * width * (scale[0] + (scale[1] - scale[0]) * u[0])
    aspect = (math.log(ratio[0]) + math.log(ratio[1] / ratio[0]) * u[1]).exp()
    w, h = (area * aspect).sqrt().round().long(), (area / aspect).sqrt().round().long()
    fits = (w >= 1) & (w <= width) & (h >= 1) & (h <= height)
    first = fits.int().argmax(1, keepdim=True)
    w, h, down, right = (part.gather(1, first).squeeze(1) for part in (w, h, u[2], u[3]))
    middle_w = min(width, round(height * ratio[1]))
    middle_h = min(height, round(width / ratio[0]))
    none = ~fits.any(1)
    w, h = w.masked_fill(none, middle_w), h.masked_fill(none, middle_h)
    top = torch.where(none, (height - h) // 2, (down * (height - h + 1)).long())
    left = torch.where(none, (width - w) // 2, (right * (width - w + 1)).long())
    return torch.stack([top, left, h, w], 1)


def resized_crops(images: Float[Tensor, "n c h w"], boxes: Int64[Tensor, "n 4"]) -> Float[Tensor, "n c h w"]:
    """The parts in `boxes`, scaled up to the size of the images, bilinear.

    Rows are picked and mixed in pairs, which copies whole rows; columns are mixed by a matrix product an image.
    """
    n, channels, height, width = images.shape
    top, left, h, w = boxes[:, :, None].unbind(1)
    places = top + _inside(h, height, images.dtype)
    upper = places.long()
    # Where there is no row below, its share is 0.
    lower, share = (upper + 1).clamp_max(height - 1), places - upper
    planes = images.contiguous().flatten(0, 2)
    starts = height * torch.arange(n * channels, device=images.device).view(n, channels, 1)
    above, below = (
        planes.index_select(0, (starts + rows[:, None]).flatten()).view(images.shape) for rows in (upper, lower)
    )
    mixed = above.lerp_(below, share[:, None, :, None])
    columns = torch.arange(width, device=images.device)
    weights = (1 - (columns[:, None] - (left + _inside(w, width, images.dtype))[:, None]).abs()).clamp_min_(0)
    return (mixed.view(n, channels * height, width) @ weights).view(images.shape)


def _inside(length: Int64[Tensor, "n 1"], size: int, dtype: torch.dtype) -> Float[Tensor, "n s"]:
    """Where each new pixel lies in a part that becomes the whole, in its pixels; at its borders there is only the outermost."""
    middles = torch.arange(size, device=length.device, dtype=dtype) + 0.5
    return (middles * length / size - 0.5).clamp(min=0).minimum((length - 1).to(dtype))
