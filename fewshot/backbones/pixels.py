"""Pixels as features: no learning at all, the calibration of a data pipeline."""

from jaxtyping import Float
from torch import Tensor

from fewshot.backbones.staged import Staged


class Pixels(Staged):
    """The image itself, flattened.

    Published raw-pixel accuracies (Vinyals et al., 2016, table 1) tell whether images, splits and
    polarity are those of the field before anything is trained.

    Args:
        channels: of the input images.
        image_size: side of the input images in pixels.
    """

    blocks = ()

    def __init__(self, channels: int = 3, image_size: int = 84):
        super().__init__()
        self.feature_size = channels * image_size**2

    def stages(self, images: Float[Tensor, "n c h w"]) -> list[Float[Tensor, "n c h w"]]:
        """The images, as the only stage."""
        return [images]

    def pooled(self, last: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        """All pixels."""
        return last.flatten(1)
