"""Conv-4, the four-block network of Vinyals et al. (2016) and Snell et al. (2017)."""

import math

from jaxtyping import Float
from torch import Tensor, nn

from fewshot.backbones.staged import Staged
from fewshot.errors import FewshotError


class Conv4(Staged):
    """Four blocks of 3x3 convolution, BatchNorm, ReLU and 2x2 max pooling, then flatten.

    84x84 images give maps of 42, 21, 10 and 5 pixels and 64 x 5 x 5 = 1600 features, 28x28 images 64. With 64 filters it has 113,088
    parameters for three channels and 111,936 for one. `map_shape` is that of the last map.

    Args:
        channels: of the input images.
        width: filters of every block.
        global_pool: average over positions instead of flattening: another model, 64 features at any size.
        image_size: side of the input images in pixels; decides `feature_size`.
        poolings: how many of the blocks, from the first, pool; 2 leaves the maps that Relation Networks compare.

    Raises:
        FewshotError: no filters, or images too small for four poolings.

    Source: Snell et al., Prototypical Networks for Few-shot Learning, 2017, section 3.
    """

    def __init__(
        self, channels: int = 3, width: int = 64, global_pool: bool = False, image_size: int = 84, poolings: int = 4
    ):
        super().__init__()
        if width < 1:
            raise FewshotError(f"backbone.width={width}; expected at least 1")
        if not 0 <= poolings <= 4:
            raise FewshotError(f"backbone.poolings={poolings}; expected 0 to 4")
        side = image_size // 2**poolings
        if side < 1:
            raise FewshotError(
                f"images of {image_size} pixels vanish in {poolings} poolings; use at least {2**poolings}"
            )
        self.blocks = nn.ModuleList(_block(channels if i == 0 else width, width, i < poolings) for i in range(4))
        self.global_pool = global_pool
        self.map_shape = (width, 1, 1) if global_pool else (width, side, side)
        self.feature_size = math.prod(self.map_shape)

    def pooled(self, last: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        """The last map to features."""
        return last.mean(dim=(2, 3)) if self.global_pool else last.flatten(1)


def _block(channels: int, width: int, pools: bool) -> nn.Sequential:
    # ReLU after pooling equals ReLU before it, value and gradient, at a quarter of the work.
    pooling = [nn.MaxPool2d(2)] if pools else []
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), *pooling, nn.ReLU(inplace=True)
    )
