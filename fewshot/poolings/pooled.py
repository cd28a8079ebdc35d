"""A backbone with another pooling than its own."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fewshot.errors import FewshotError


def stage_shapes(backbone: nn.Module, channels: int, image_size: int) -> list[tuple[int, int, int]]:
    """The shapes `(c, h, w)` of the maps that `backbone.stages` makes of one image.

    Raises:
        FewshotError: the backbone shows no maps.
    """
    if not hasattr(backbone, "stages"):
        raise FewshotError(f"pooling: {type(backbone).__name__} has no stages(images); leave pooling out")
    training = backbone.training
    with torch.no_grad():
        maps = backbone.eval().stages(torch.zeros(1, channels, image_size, image_size))
    backbone.train(training)
    return [tuple(shape) for shape in (part.shape[1:] for part in maps)]


class Pooled(nn.Module):
    """The features that a pooling makes of a backbone's maps.

    Args:
        backbone: has `stages(images)`, a list of maps `[n, c, h, w]`; its own `forward` is not used.
        pooling: that list to features `[n, d]`; has `feature_size`, and `map_shape` if features are a flattened map or
            `stage_sizes` if they are those of several stages, end to end.
    """

    def __init__(self, backbone: nn.Module, pooling: Callable[[list[Tensor]], Tensor]):
        super().__init__()
        self.backbone, self.pooling = backbone, pooling
        for name in ("feature_size", "map_shape", "stage_sizes"):
            if hasattr(pooling, name):
                setattr(self, name, getattr(pooling, name))
        self.pretraining = getattr(backbone, "pretraining", "none")

    def stages(self, images: Float[Tensor, "n c h w"]) -> list[Float[Tensor, "n d _ _"]]:
        """Those of the backbone."""
        return self.backbone.stages(images)

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        return self.pooling(self.stages(images))
