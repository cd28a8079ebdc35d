"""Random resized crops of a batch, as two matrix products an image."""

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
    """The parts in `boxes`, scaled up to the size of the images, bilinear."""
    height, width = images.shape[2:]
    rows = _interpolation(boxes[:, 0], boxes[:, 2], height, images.dtype)
    columns = _interpolation(boxes[:, 1], boxes[:, 3], width, images.dtype)
    return rows[:, None] @ images @ columns[:, None].transpose(-1, -2)


def _interpolation(start: Tensor, length: Tensor, size: int, dtype: torch.dtype) -> Float[Tensor, "n s s"]:
    """Row i holds the weights of the old pixels in new pixel i, for a part that becomes the whole."""
    places = torch.arange(size, device=start.device, dtype=dtype)
    inside = (places + 0.5) * length[:, None] / size - 0.5
    # Beyond the middle of the outermost pixel of the part there is only that pixel.
    inside = inside.clamp(min=0).minimum((length[:, None] - 1).to(dtype)) + start[:, None]
    return (1 - (inside[:, :, None] - places).abs()).clamp_min(0)
