"""Wide residual networks (Zagoruyko and Komodakis, 2016), WRN-28-10 in few-shot learning."""

from jaxtyping import Float
from torch import Tensor, nn

from fewshot.backbones.staged import Staged
from fewshot.errors import FewshotError


class _Block(nn.Module):
    """BatchNorm and ReLU before each of two 3x3 convolutions; the shortcut is a 1x1 convolution where the shape changes."""

    def __init__(self, channels: int, width: int, stride: int, dropout: float):
        super().__init__()
        self.before = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(inplace=True))
        self.body = nn.Sequential(
            nn.Conv2d(channels, width, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
        )
        same = channels == width and stride == 1
        self.shortcut = None if same else nn.Conv2d(channels, width, 1, stride, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        active = self.before(images)
        # Where the shape changes the shortcut starts behind the first BatchNorm, as in the authors' code.
        return self.body(active) + (images if self.shortcut is None else self.shortcut(active))


class WideResNet(Staged):
    """A residual network of three groups, `16 widen`, `32 widen` and `64 widen` filters, then averaged over positions.

    WRN-28-10 makes 640 features.

    Args:
        channels: of the input images.
        depth: 6 n + 4, with n blocks in each group.
        widen: factor on the filters.
        dropout: between the convolutions of a block, 0 to 1.
        image_size: side of the input images in pixels; any will do.

    Raises:
        FewshotError: a depth of no such form, a factor below 1, or a rate outside 0 to 1.

    Source: Zagoruyko and Komodakis, Wide Residual Networks, 2016, table 1 and section 2.
    """

    def __init__(self, channels: int = 3, depth: int = 28, widen: int = 10, dropout: float = 0.0, image_size: int = 84):
        super().__init__()
        if depth < 10 or (depth - 4) % 6:
            raise FewshotError(f"backbone.depth={depth}; expected 6 n + 4, such as 16 or 28")
        if widen < 1:
            raise FewshotError(f"backbone.widen={widen}; expected at least 1")
        if not 0 <= dropout < 1:
            raise FewshotError(f"backbone.dropout={dropout}; expected at least 0 and less than 1")
        self.stem = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        groups, width = [], 16
        for i in range(3):
            blocks = []
            for j in range((depth - 4) // 6):
                blocks.append(_Block(width, 16 * widen * 2**i, 2 if i and j == 0 else 1, dropout))
                width = 16 * widen * 2**i
            groups.append(nn.Sequential(*blocks))
        groups[-1].extend([nn.BatchNorm2d(width), nn.ReLU(inplace=True)])
        self.groups = nn.ModuleList(groups)
        self.map_shape, self.feature_size = (width, 1, 1), width
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @property
    def blocks(self) -> list[nn.Module]:
        """The groups, at the full, half and quarter size, the first with the stem; the last ends in BatchNorm and ReLU."""
        return [nn.Sequential(self.stem, self.groups[0]), *self.groups[1:]]

    def pooled(self, last: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        """The last map to features."""
        return last.mean(dim=(2, 3))
