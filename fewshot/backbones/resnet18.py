"""ResNet-18, by torchvision, with a stem for small images."""

from jaxtyping import Float
from torch import Tensor, nn

from fewshot.backbones.staged import Staged
from fewshot.errors import FewshotError

STEMS = ("small", "imagenet")


class ResNet18(Staged):
    """Four groups of two basic blocks, 64-128-256-512 filters, averaged over positions: 512 features.

    Args:
        channels: of the input images.
        stem: `small` is one 3x3 convolution and keeps the size, for 84x84 (SimpleShot, LaplacianShot); `imagenet` is a
            7x7 convolution of stride 2 and 3x3 max pooling, for 224x224 (Chen et al. 2019) and in MSENet.
        pretrained: start from torchvision's weights of ImageNet-1k, which torchvision downloads; rows say so.
        image_size: side of the input images in pixels; any will do.

    Raises:
        FewshotError: unknown stem, or pretrained weights that do not fit or could not be had.

    Source: He et al., Deep Residual Learning for Image Recognition, 2016; the small stem: Wang et al., SimpleShot, 2019,
    section 4.1.
    """

    def __init__(self, channels: int = 3, stem: str = "small", pretrained: bool = False, image_size: int = 84):
        super().__init__()
        if stem not in STEMS:
            raise FewshotError(f"backbone.stem={stem}; expected one of {', '.join(STEMS)}")
        if pretrained and (stem != "imagenet" or channels != 3):
            raise FewshotError("backbone.pretrained=true needs backbone.stem=imagenet and RGB images")
        from torchvision.models import ResNet18_Weights, resnet18

        try:
            network = resnet18(weights=ResNet18_Weights.IMAGENET1K_V1 if pretrained else None)
        except OSError as error:
            raise FewshotError(
                f"backbone.pretrained=true: torchvision could not get its weights ({error}); put its file into torch's hub cache"
            ) from error
        if stem == "small":
            self.stem = nn.Sequential(nn.Conv2d(channels, 64, 3, padding=1, bias=False), network.bn1, network.relu)
        else:
            first = network.conv1 if channels == 3 else nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
            self.stem = nn.Sequential(first, network.bn1, network.relu, network.maxpool)
        if self.stem[0] is not network.conv1:
            nn.init.kaiming_normal_(self.stem[0].weight, mode="fan_out", nonlinearity="relu")
        self.groups = nn.ModuleList([network.layer1, network.layer2, network.layer3, network.layer4])
        self.pretraining = "imagenet1k" if pretrained else "none"
        self.map_shape, self.feature_size = (512, 1, 1), 512

    @property
    def blocks(self) -> list[nn.Module]:
        """The stem and the groups, which make 64, 64, 128, 256 and 512 channels."""
        return [self.stem, *self.groups]

    def pooled(self, last: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        """The last map to features."""
        return last.mean(dim=(2, 3))
