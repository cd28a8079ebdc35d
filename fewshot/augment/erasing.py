"""Random erasing of a batch (Zhong et al., 2017)."""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from fewshot.augment.crop import draw_boxes

_AREA, _RATIO = (0.02, 1 / 3), (0.3, 3.3)


def draw_holes(
    n: int, height: int, width: int, chance: float, generator: torch.Generator
) -> tuple[Int64[Tensor, "n 4"], Bool[Tensor, " n"]]:
    """Top, left, height and width of a rectangle in each image, and which images are painted on.

    A rectangle has 2 to 33 percent of the area, and a ratio of its sides between 0.3 and 3.3.
    """
    boxes = draw_boxes(n, height, width, _AREA, _RATIO, generator)
    return boxes, torch.rand(n, generator=generator, device=generator.device) < chance


def erase(
    images: Float[Tensor, "n c h w"],
    boxes: Int64[Tensor, "n 4"],
    chosen: Bool[Tensor, " n"],
    value: float | None = None,
) -> Float[Tensor, "n c h w"]:
    """Paint a rectangle of some images with one colour.

    Args:
        images: any.
        boxes: top, left, height and width of the rectangles.
        chosen: the images that are painted on.
        value: of the painted pixels; None for the image's mean colour.

    Source: Zhong et al., Random Erasing Data Augmentation, 2017, algorithm 1.
    """
    height, width = images.shape[2:]
    top, left, h, w = boxes[:, :, None].unbind(1)
    rows, columns = (torch.arange(size, device=images.device)[None] for size in (height, width))
    down, across = (rows >= top) & (rows < top + h), (columns >= left) & (columns < left + w)
    hole = down[:, None, :, None] & across[:, None, None, :] & chosen[:, None, None, None]
    paint = images.mean(dim=(2, 3), keepdim=True) if value is None else images.new_tensor(value)
    return torch.where(hole, paint, images)
