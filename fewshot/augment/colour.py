"""Changes of brightness, contrast, saturation and hue of a batch, each image by numbers of its own; with `_`, in place."""

import torch
from jaxtyping import Float
from torch import Tensor

# ITU-R 601, as Pillow and torchvision have it.
_LUMA = (0.2989, 0.587, 0.114)


def grey(images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 1 h w"]:
    """The luma of RGB images; grey ones as they are."""
    if images.shape[1] == 1:
        return images
    red, green, blue = images.unbind(1)
    return (_LUMA[0] * red).add_(green, alpha=_LUMA[1]).add_(blue, alpha=_LUMA[2])[:, None]


def blend_(images: Tensor, others: Tensor, factor: Float[Tensor, " n"]) -> Tensor:
    """`factor * images + (1 - factor) * others`, cut to 0..1."""
    factor = factor.view(-1, 1, 1, 1)
    return images.mul_(factor).add_((1 - factor) * others).clamp_(0, 1)


def brightness_(images: Float[Tensor, "n c h w"], factor: Float[Tensor, " n"]) -> Float[Tensor, "n c h w"]:
    """Black at 0, the image at 1."""
    return images.mul_(factor.view(-1, 1, 1, 1)).clamp_(0, 1)


def contrast_(images: Float[Tensor, "n c h w"], factor: Float[Tensor, " n"]) -> Float[Tensor, "n c h w"]:
    """The mean grey at 0, the image at 1."""
    return blend_(images, grey(images.mean((2, 3), keepdim=True)), factor)


def saturation_(images: Float[Tensor, "n c h w"], factor: Float[Tensor, " n"]) -> Float[Tensor, "n c h w"]:
    """Grey at 0, the image at 1; grey images stay as they are."""
    return images if images.shape[1] == 1 else blend_(images, grey(images), factor)


def hue(images: Float[Tensor, "n c h w"], turn: Float[Tensor, " n"]) -> Float[Tensor, "n c h w"]:
    """Colours moved around the circle of hues by `turn`, in whole turns; grey images stay as they are.

    A colour of hue h, value v and saturation s has in channel k (5 for red, 3 for green, 1 for blue) the value
    `v - v s max(0, min(q, 4 - q, 1))` with `q = (k + 6 h) mod 6`.
    """
    if images.shape[1] == 1:
        return images
    red, green, blue = images.unbind(1)
    value, least = images.amax(1), images.amin(1)
    spread = value - least
    safe = spread.masked_fill(spread == 0, 1)
    sixth = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    sixth = sixth + 6 * turn.view(-1, 1, 1)
    channels = []
    for k in (5, 3, 1):
        q = (k + sixth) % 6
        channels.append(value - spread * torch.minimum(q, 4 - q).clamp(0, 1))
    return torch.stack(channels, 1)


CHANGES = {"brightness": brightness_, "contrast": contrast_, "saturation": saturation_, "hue": hue}
