"""Random resized crops of a batch."""

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import interpolate

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


def resized_crops(
    images: Float[Tensor, "n c h w"], boxes: Int64[Tensor, "n 4"], size: int | None = None
) -> Float[Tensor, "n c s t"]:
    """The parts in `boxes`, scaled to the size of the images or to a square; bilinear, antialiased where they become smaller.

    Args:
        images: with values in 0..1.
        boxes: top, left, height and width of a part of each.
        size: side of the square; None for the size of the images.
    """
    if size is None or images.shape[2:] == (size, size):
        return _scaled_up(images, boxes)
    return (_scaled_one_by_one if images.device.type == "cpu" else scaled_together)(images, boxes, size)


def _scaled_up(images: Float[Tensor, "n c h w"], boxes: Int64[Tensor, "n 4"]) -> Float[Tensor, "n c h w"]:
    """Rows are picked and mixed in pairs, which copies whole rows; columns are mixed by a matrix product an image."""
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


def _scaled_one_by_one(
    images: Float[Tensor, "n c h w"], boxes: Int64[Tensor, "n 4"], size: int
) -> Float[Tensor, "n c s s"]:
    """`resized_crops` to a square, several times as fast on a CPU as `scaled_together`."""
    out = images.new_empty(*images.shape[:2], size, size)
    for i, (top, left, height, width) in enumerate(boxes.tolist()):
        part = images[i : i + 1, :, top : top + height, left : left + width]
        out[i : i + 1] = interpolate(part, (size, size), mode="bilinear", antialias=True)
    return out


def scaled_together(
    images: Float[Tensor, "n c h w"], boxes: Int64[Tensor, "n 4"], size: int
) -> Float[Tensor, "n c s s"]:
    """`resized_crops` to a square by two matrix products an image, for devices that want much to do at once."""
    n, channels, height, width = images.shape
    top, left, h, w = boxes[:, :, None, None].unbind(1)
    rows, columns = _shares(top, h, height, size, images.dtype), _shares(left, w, width, size, images.dtype)
    mixed = rows[:, None] @ images
    return (mixed.view(n, channels * size, width) @ columns.mT).view(n, channels, size, size)


def _shares(
    start: Int64[Tensor, "n 1 1"], length: Int64[Tensor, "n 1 1"], full: int, size: int, dtype: torch.dtype
) -> Float[Tensor, "n s f"]:
    """The share of each pixel in each new one: falls with the distance to 0 at one new pixel's width, at least one of its own."""
    step = length / size
    middles = start + (torch.arange(size, device=start.device, dtype=dtype)[:, None] + 0.5) * step
    pixels = torch.arange(full, device=start.device, dtype=dtype) + 0.5
    shares = (1 - (pixels - middles).abs() / step.clamp_min(1)).clamp_min_(0)
    shares *= (pixels > start) & (pixels < start + length)
    return shares / shares.sum(-1, keepdim=True)
