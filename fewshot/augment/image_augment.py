"""Random shifts and mirror images of a batch, without a loop over images."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from fewshot.errors import FewshotError


class ImageAugment:
    """Shifts each image by a whole number of pixels and mirrors some of them.

    A shift by up to p pixels is the random crop after padding by p that recipes speak of.

    Args:
        shift: largest shift in pixels along each axis; 0 for none. What comes in is the image's edge.
        flip: mirror left and right with probability one half.
    """

    def __init__(self, shift: int = 0, flip: bool = False):
        if shift < 0:
            raise FewshotError(f"augment.shift={shift}; expected at least 0")
        self.shift, self.flip = shift, flip

    def __call__(self, images: Float[Tensor, "n c h w"], generator: torch.Generator) -> Float[Tensor, "n c h w"]:
        """Augmented copies; `generator` lives on the device of `images`."""
        n, _, height, width = images.shape
        device = images.device

        def draw(high: int) -> Tensor:
            return torch.randint(high, (n,), generator=generator, device=device)

        if self.shift == 0 and not self.flip:
            return images
        columns = torch.arange(width, device=device).expand(n, -1)
        rows = torch.arange(height, device=device).expand(n, -1)
        if self.flip:
            columns = torch.where(draw(2).bool()[:, None], width - 1 - columns, columns)
        if self.shift:
            images = pad(images, (self.shift,) * 4, mode="replicate")
            rows = rows + draw(2 * self.shift + 1)[:, None]
            columns = columns + draw(2 * self.shift + 1)[:, None]
        # Advanced indices around a slice put the channels last: a channels-last image in memory.
        picked = images[torch.arange(n, device=device)[:, None, None], :, rows[:, :, None], columns[:, None, :]]
        return picked.permute(0, 3, 1, 2)
