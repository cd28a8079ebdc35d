"""Dropout of pixels."""

from jaxtyping import Bool, Float
from torch import Tensor


def drop_pixels(
    images: Float[Tensor, "n c h w"], kept: Bool[Tensor, "n 1 h w"], chance: float
) -> Float[Tensor, "n c h w"]:
    """Set pixels to 0, all channels together, and scale the others up, so that the mean stays.

    Args:
        images: any.
        kept: the pixels that are not set to 0.
        chance: of each pixel to be dropped, less than 1.

    Source: Srivastava et al., Dropout: A Simple Way to Prevent Neural Networks from Overfitting, 2014, on the input.
    """
    return images * kept / (1 - chance)
