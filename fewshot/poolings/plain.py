"""Averaging the last map over its positions, and flattening it."""

import math
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn


class GlobalAverage(nn.Module):
    """The mean of the last map over its positions.

    Args:
        stage_shapes: `(c, h, w)` of each map.
    """

    def __init__(self, stage_shapes: Sequence[tuple[int, int, int]]):
        super().__init__()
        self.feature_size = stage_shapes[-1][0]
        self.map_shape = (self.feature_size, 1, 1)

    def forward(self, maps: list[Float[Tensor, "n _ _ _"]]) -> Float[Tensor, "n d"]:
        """The maps of all stages to features."""
        return maps[-1].mean(dim=(2, 3))


class Flatten(nn.Module):
    """All values of the last map.

    Args:
        stage_shapes: `(c, h, w)` of each map.
    """

    def __init__(self, stage_shapes: Sequence[tuple[int, int, int]]):
        super().__init__()
        self.map_shape = tuple(stage_shapes[-1])
        self.feature_size = math.prod(self.map_shape)

    def forward(self, maps: list[Float[Tensor, "n _ _ _"]]) -> Float[Tensor, "n d"]:
        """The maps of all stages to features."""
        return maps[-1].flatten(1)
