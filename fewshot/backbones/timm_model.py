"""Any backbone of the timm library, by its name."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fewshot.errors import FewshotError


class TimmModel(nn.Module):
    """A model of timm without its classifier.

    Args:
        model: timm's name, such as `resnet34` or `vit_small_patch16_224`; `timm.list_models()` has them.
        pretrained: start from timm's default weights of that name, which timm downloads; rows say so.
        channels: of the input images.
        image_size: side of the input images in pixels; vision transformers are built for it.

    Raises:
        FewshotError: timm is missing, has no such model, cannot build it for such images, or could not get its weights.
    """

    def __init__(self, model: str = "resnet18", pretrained: bool = False, channels: int = 3, image_size: int = 84):
        super().__init__()
        try:
            import timm
        except ImportError as error:
            raise FewshotError("backbone=timm needs timm; pip install 'fewshot[timm]'") from error
        options = {"pretrained": pretrained, "in_chans": channels, "num_classes": 0}
        try:
            try:
                self.network = timm.create_model(model, img_size=image_size, **options)
            except TypeError:
                # Convolutional networks take any size and do not ask for it.
                self.network = timm.create_model(model, **options)
            with torch.no_grad():
                shape = self.network.eval()(torch.zeros(1, channels, image_size, image_size)).shape
            self.network.train()
        except Exception as error:
            # timm raises what comes up, from RuntimeError to errors of the download.
            reason = str(error).strip().splitlines()[0][:160] if str(error).strip() else type(error).__name__
            raise FewshotError(
                f"backbone.model={model}: timm cannot make it for {image_size}x{image_size} images with {channels} channels "
                f"({reason}); timm.list_models() has the names"
            ) from error
        if len(shape) != 2:
            raise FewshotError(
                f"backbone.model={model} makes {tuple(shape[1:])} of an image, not one vector; use another"
            )
        self.feature_size = int(shape[1])
        tag = (self.network.pretrained_cfg or {}).get("tag") or "default"
        self.pretraining = f"timm {model}.{tag}" if pretrained else "none"

    def stages(self, images: Float[Tensor, "n c h w"]) -> list[Float[Tensor, "n d _ _"]]:
        """The maps that timm counts as the model's stages, from the first."""
        if not hasattr(self.network, "forward_intermediates"):
            raise FewshotError(f"{type(self.network).__name__} of timm shows no stages; use another model")
        return self.network.forward_intermediates(images, intermediates_only=True)

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        return self.network(images)
