"""Random changes of a batch of training images, without a loop over images."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from fewshot.augment import colour
from fewshot.augment.crop import draw_boxes, resized_crops
from fewshot.augment.dropout import drop_pixels
from fewshot.augment.erasing import erase
from fewshot.errors import FewshotError


class ImageAugment:
    """Shifts or crops each image, mirrors some, changes their colours, drops pixels and paints rectangles, in this order.

    Every image has random numbers of its own. Colours are changed in the order brightness, contrast, saturation, hue, grey.

    Args:
        shift: largest shift in pixels along each axis; 0 for none. What comes in is the image's edge. A shift by up to p is the
            random crop after padding by p that recipes speak of.
        crop_scale: shares of the area, `[least, largest]`, of which a random part is scaled up to the image's size; null for
            none. Shares above 1 fit nowhere: another is drawn, and after ten of them the whole image is taken.
        crop_ratio: least and largest width / height of that part.
        flip: mirror left and right with probability one half.
        vertical_flip: mirror up and down with probability one half.
        brightness: factors are uniform in `1 - brightness` to `1 + brightness`, not below 0; 0 for none.
        contrast: the same for contrast.
        saturation: the same for saturation.
        hue: turns of the circle of hues are uniform in `-hue` to `hue`, at most 0.5; 0 for none.
        jitter: chance of each image to have its brightness, contrast, saturation and hue changed.
        grey: chance of each image to lose its colours; 0 for none.
        dropout: chance of each pixel to be set to 0, the others being scaled up; 0 for none.
        erase: chance of each image to have a rectangle painted over; 0 for none.
        erase_value: of the pixels of that rectangle; null for the image's mean colour.

    Raises:
        FewshotError: a number out of range, or both a shift and a crop.
    """

    def __init__(
        self,
        shift: int = 0,
        crop_scale: Sequence[float] | None = None,
        crop_ratio: Sequence[float] = (3 / 4, 4 / 3),
        flip: bool = False,
        vertical_flip: bool = False,
        brightness: float = 0.0,
        contrast: float = 0.0,
        saturation: float = 0.0,
        hue: float = 0.0,
        jitter: float = 1.0,
        grey: float = 0.0,
        dropout: float = 0.0,
        erase: float = 0.0,
        erase_value: float | None = None,
    ):
        if shift < 0:
            raise FewshotError(f"augment.shift={shift}; expected at least 0")
        if crop_scale is not None and shift:
            raise FewshotError("augment.shift and augment.crop_scale are two ways to crop; leave one out")
        if crop_scale is not None and not (
            len(crop_scale) == 2 and 0 < crop_scale[0] <= 1 and crop_scale[0] <= crop_scale[1]
        ):
            raise FewshotError(f"augment.crop_scale={list(crop_scale)}; expected two shares, 0 < least <= largest")
        if not (len(crop_ratio) == 2 and 0 < crop_ratio[0] <= crop_ratio[1]):
            raise FewshotError(f"augment.crop_ratio={list(crop_ratio)}; expected two ratios, 0 < least <= largest")
        if not 0 <= dropout < 1:
            raise FewshotError(f"augment.dropout={dropout}; expected 0 to less than 1")
        amounts = {"brightness": brightness, "contrast": contrast, "saturation": saturation, "hue": hue}
        most = {"hue": 0.5, "jitter": 1.0, "grey": 1.0, "erase": 1.0}
        for name, value in {**amounts, "jitter": jitter, "grey": grey, "erase": erase}.items():
            if not 0 <= value <= most.get(name, torch.inf):
                raise FewshotError(
                    f"augment.{name}={value}; expected 0 to {most[name]}"
                    if name in most
                    else f"augment.{name}={value}; expected at least 0"
                )
        self.shift, self.flip, self.vertical_flip = shift, flip, vertical_flip
        self.dropout, self.erase, self.erase_value = dropout, erase, erase_value
        self.crop_scale, self.crop_ratio = crop_scale and tuple(crop_scale), tuple(crop_ratio)
        self.colours, self.jitter, self.grey = {name: v for name, v in amounts.items() if v}, jitter, grey

    def __call__(self, images: Float[Tensor, "n c h w"], generator: torch.Generator) -> Float[Tensor, "n c h w"]:
        """Changed copies of images with values in 0..1; `generator` lives on their device."""
        layout = torch.channels_last if images.is_contiguous(memory_format=torch.channels_last) else None
        if self.shift or self.flip or self.vertical_flip:
            images = self._moved(images, generator)
        if self.crop_scale is not None:
            boxes = draw_boxes(len(images), *images.shape[2:], self.crop_scale, self.crop_ratio, generator)
            images = resized_crops(images, boxes)
        images = self._coloured(images, generator)
        if self.dropout:
            images = drop_pixels(images, self.dropout, generator)
        if self.erase:
            images = erase(images, self.erase, generator, self.erase_value)
        return images if layout is None else images.contiguous(memory_format=layout)

    def _coloured(self, images: Tensor, generator: torch.Generator) -> Tensor:
        def draw() -> Tensor:
            return torch.rand(len(images), generator=generator, device=images.device)

        before = images
        for name, amount in self.colours.items():
            u = 2 * draw() - 1
            images = getattr(colour, name)(images, amount * u if name == "hue" else (1 + amount * u).clamp_min(0))
        if self.colours and self.jitter < 1:
            images = torch.where((draw() < self.jitter).view(-1, 1, 1, 1), images, before)
        if self.grey:
            images = torch.where((draw() < self.grey).view(-1, 1, 1, 1), colour.grey(images), images)
        return images

    def _moved(self, images: Tensor, generator: torch.Generator) -> Tensor:
        n, _, height, width = images.shape
        device = images.device

        def draw(high: int) -> Tensor:
            return torch.randint(high, (n,), generator=generator, device=device)

        columns = torch.arange(width, device=device).expand(n, -1)
        rows = torch.arange(height, device=device).expand(n, -1)
        if self.flip:
            columns = torch.where(draw(2).bool()[:, None], width - 1 - columns, columns)
        if self.vertical_flip:
            rows = torch.where(draw(2).bool()[:, None], height - 1 - rows, rows)
        if self.shift:
            images = pad(images, (self.shift,) * 4, mode="replicate")
            rows = rows + draw(2 * self.shift + 1)[:, None]
            columns = columns + draw(2 * self.shift + 1)[:, None]
        # Advanced indices around a slice put the channels last: a channels-last image in memory.
        picked = images[torch.arange(n, device=device)[:, None, None], :, rows[:, :, None], columns[:, None, :]]
        return picked.permute(0, 3, 1, 2)
