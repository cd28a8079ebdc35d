"""ResNet-12, the residual network of few-shot learning (Oreshkin et al., 2018; Lee et al., 2019)."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from fewshot.backbones.staged import Staged
from fewshot.errors import FewshotError

WIDTHS = {"wide": (64, 160, 320, 640), "narrow": (64, 128, 256, 512)}


class DropBlock(nn.Dropout2d):
    """Sets squares of a map to zero in training and scales the rest up, so that the mean stays.

    Args:
        rate: share of positions that are to be dropped, 0 to 1.
        size: side of the squares, odd.

    Source: Ghiasi et al., DropBlock: A regularization method for convolutional networks, 2018, algorithm 1.
    """

    def __init__(self, rate: float, size: int):
        super().__init__(rate)
        self.rate, self.size = rate, size

    def forward(self, maps: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Maps with holes; in eval mode the maps as they are."""
        if not self.training or self.rate == 0:
            return maps
        height, width = maps.shape[2:]
        size = min(self.size, height, width)
        size -= 1 - size % 2
        # So many centres that about `rate` of all positions lie in a square.
        places = (height - size + 1) * (width - size + 1)
        chance = self.rate * height * width / size**2 / places
        inside = torch.zeros_like(maps)
        edge = size // 2
        inside[:, :, edge : height - edge, edge : width - edge] = 1
        centres = (torch.rand_like(maps) < chance).to(maps.dtype) * inside
        kept = 1 - max_pool2d(centres, size, stride=1, padding=edge)
        return maps * kept * (kept.numel() / kept.sum().clamp_min(1))


class _Block(nn.Module):
    """Three 3x3 convolutions with BatchNorm, a shortcut of one 1x1 convolution, LeakyReLU 0.1, 2x2 max pooling."""

    def __init__(self, channels: int, width: int, drop: nn.Module):
        super().__init__()
        layers: list[nn.Module] = []
        for i in range(3):
            layers += [nn.Conv2d(channels if i == 0 else width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)]
            layers += [nn.LeakyReLU(0.1, inplace=True)] if i < 2 else []
        self.body = nn.Sequential(*layers)
        self.shortcut = nn.Sequential(nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width))
        self.last = nn.Sequential(nn.LeakyReLU(0.1, inplace=True), nn.MaxPool2d(2), drop)

    def forward(self, images: Tensor) -> Tensor:
        return self.by(lambda module, x: module(x), images)

    def by(self, apply: Callable, x):
        """The block with `apply(part, x)` in place of `part(x)`: x may be anything that can be added, such as boxes of maps."""
        return apply(self.last, apply(self.body, x) + apply(self.shortcut, x))


class ResNet12(Staged):
    """Four residual blocks of three convolutions each; every block halves the map.

    Args:
        channels: of the input images.
        widths: `wide` is 64-160-320-640 (MetaOptNet, FEAT, DeepEMD), `narrow` 64-128-256-512 (Meta-Baseline, SuSana).
        global_pool: average over positions, 640 or 512 features; without, the last map is flattened (16,000 at 84x84),
            as in MetaOptNet.
        drop_rate: dropout on the first two blocks and DropBlock on the last two, 0 to 1.
        drop_size: side of the dropped squares.
        image_size: side of the input images in pixels.

    Raises:
        FewshotError: unknown widths, a rate outside 0 to 1, or images too small for four poolings.

    Source: Lee et al., Meta-Learning with Differentiable Convex Optimization, 2019, section 4.1, and the authors' code;
    there the rate rises over 20,000 steps, here it is the same throughout.
    """

    def __init__(
        self,
        channels: int = 3,
        widths: str = "wide",
        global_pool: bool = True,
        drop_rate: float = 0.1,
        drop_size: int = 5,
        image_size: int = 84,
    ):
        super().__init__()
        if widths not in WIDTHS:
            raise FewshotError(f"backbone.widths={widths}; expected one of {', '.join(WIDTHS)}")
        if not 0 <= drop_rate < 1:
            raise FewshotError(f"backbone.drop_rate={drop_rate}; expected at least 0 and less than 1")
        if drop_size < 1 or drop_size % 2 == 0:
            raise FewshotError(f"backbone.drop_size={drop_size}; expected an odd number of at least 1")
        if image_size < 16:
            raise FewshotError(f"images of {image_size} pixels vanish in ResNet-12's four poolings; use at least 16")
        blocks = []
        for i, width in enumerate(WIDTHS[widths]):
            drop = DropBlock(drop_rate, drop_size) if i >= 2 else nn.Dropout(drop_rate)
            blocks.append(_Block(channels, width, drop))
            channels = width
        self.blocks = nn.ModuleList(blocks)
        self.global_pool = global_pool
        side = 1 if global_pool else image_size // 16
        self.map_shape = (channels, side, side)
        self.feature_size = math.prod(self.map_shape)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="leaky_relu")

    def pooled(self, last: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        """The last map to features."""
        return last.mean(dim=(2, 3)) if self.global_pool else last.flatten(1)
