"""Random erasing of a batch (Zhong et al., 2017)."""

import torch
from jaxtyping import Float
from torch import Tensor

from fewshot.augment.crop import draw_boxes

_AREA, _RATIO = (0.02, 1 / 3), (0.3, 3.3)


def erase(
    images: Float[Tensor, "n c h w"], chance: float, generator: torch.Generator, value: float | None = None
) -> Float[Tensor, "n c h w"]:
    """Paint a rectangle of some images with one colour.

    The rectangle has 2 to 33 percent of the area, and a ratio of its sides between 0.3 and 3.3.

    Args:
        images: `[n, c, h, w]`.
        chance: of each image to be painted on.
        generator: on the device of the images.
        value: of the painted pixels; None for the image's mean colour.

    Source: Zhong et al., Random Erasing Data Augmentation, 2017, algorithm 1.
    """
    n, _, height, width = images.shape
    boxes = draw_boxes(n, height, width, _AREA, _RATIO, generator)
    chosen = torch.rand(n, generator=generator, device=images.device) < chance
    top, left, h, w = boxes[:, :, None].unbind(1)
    rows, columns = (torch.arange(size, device=images.device)[None] for size in (height, width))
    down, across = (rows >= top) & (rows < top + h), (columns >= left) & (columns < left + w)
    hole = down[:, None, :, None] & across[:, None, None, :] & chosen[:, None, None, None]
    paint = images.mean(dim=(2, 3), keepdim=True) if value is None else images.new_tensor(value)
    return torch.where(hole, paint, images)
