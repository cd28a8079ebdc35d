"""Dropout of pixels."""

import torch
from jaxtyping import Float
from torch import Tensor


def drop_pixels(
    images: Float[Tensor, "n c h w"], chance: float, generator: torch.Generator
) -> Float[Tensor, "n c h w"]:
    """Set pixels to 0, all channels together, and scale the others up, so that the mean stays.

    Args:
        images: `[n, c, h, w]`.
        chance: of each pixel to be dropped, less than 1.
        generator: on the device of the images.

    Source: Srivastava et al., Dropout: A Simple Way to Prevent Neural Networks from Overfitting, 2014, on the input.
    """
    n, _, height, width = images.shape
    kept = torch.rand(n, 1, height, width, generator=generator, device=images.device) >= chance
    return images * kept / (1 - chance)
