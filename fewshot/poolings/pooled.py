"""A backbone with another pooling than its own."""

from collections.abc import Callable, Sequence

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

    @property
    def blocks(self) -> Sequence[nn.Module]:
        """Those of the backbone, or none where one cannot step in between: before poolings of several stages, and in a
        backbone that shows no blocks."""
        one = len(getattr(self.pooling, "stage_sizes", (0,))) == 1
        return getattr(self.backbone, "blocks", ()) if one and hasattr(self.backbone, "forward_to") else ()

    @property
    def levels(self) -> int:
        """How many blocks there are."""
        return len(self.blocks)

    def forward_to(self, level: int, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d _ _"]:
        """The map at a level, 0 to `levels`."""
        return self.backbone.forward_to(level, images) if level else images

    def forward_from(self, level: int, hidden: Float[Tensor, "n c _ _"]) -> Float[Tensor, "n d"]:
        """The features of maps at a level; the pooling is shown the last map alone unless they are images."""
        if level == 0:
            return self(hidden)
        for block in self.blocks[level:]:
            hidden = block(hidden)
        return self.pooling([hidden])

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        return self.pooling(self.stages(images))
