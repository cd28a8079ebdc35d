"""Random changes of a batch of training images."""

import math
from collections.abc import Iterator, Sequence
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from fewshot.augment import colour
from fewshot.augment.changes import Change, changed, chunks
from fewshot.augment.crop import draw_boxes, resized_crops
from fewshot.augment.dropout import drop_pixels
from fewshot.augment.erasing import draw_holes, erase
from fewshot.augment.pixels import size_after
from fewshot.augment.shifts import moved
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
        size: side in pixels of the square that the part is scaled to, antialiased where that makes it smaller; null for the
            image's size. So parts of images that are larger than those of the tests are as sharp as these.
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
        FewshotError: a number out of range, both a shift and a crop, or a size without a crop.
    """

    def __init__(
        self,
        shift: int = 0,
        crop_scale: Sequence[float] | None = None,
        crop_ratio: Sequence[float] = (3 / 4, 4 / 3),
        size: int | None = None,
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
        if size is not None and size < 1:
            raise FewshotError(f"augment.size={size}; expected a whole number of pixels, or null for the image's size")
        if size is not None and crop_scale is None:
            raise FewshotError(
                f"augment.size={size} is of random parts, and there are none; use augment=resized_crop, or leave it out"
            )
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
        self.crop_scale, self.crop_ratio, self.makes_size = crop_scale and tuple(crop_scale), tuple(crop_ratio), size
        self.colours, self.jitter, self.grey = {name: v for name, v in amounts.items() if v}, jitter, grey

    def __call__(self, images: Float[Tensor, "n c h w"], generator: torch.Generator) -> Float[Tensor, "n c s t"]:
        """Changed copies of images with values in 0..1; `generator` lives on their device."""
        changes = self.changes(len(images), *images.shape[2:], generator)
        if not changes:
            return images
        shape = (*images.shape[:2], *size_after(self, *images.shape[2:]))
        out = torch.empty_like(images) if shape == images.shape else images.new_empty(shape)
        for rows in chunks(len(images), math.prod(shape[1:]), images.device):
            out[rows] = changed(images[rows].clone(), changes, rows)
        return out

    def changes(self, n: int, height: int, width: int, generator: torch.Generator) -> list[Change]:
        """What is done to n images, with the random numbers of each, which lie on the generator's device."""
        changes = [*self._moves(n, height, width, generator), *self._colours(n, generator)]
        height, width = size_after(self, height, width)
        if self.dropout:
            kept = torch.rand(n, 1, height, width, generator=generator, device=generator.device) >= self.dropout
            changes.append(Change(partial(drop_pixels, chance=self.dropout), (kept,)))
        if self.erase:
            holes = draw_holes(n, height, width, self.erase, generator)
            changes.append(Change(partial(erase, value=self.erase_value), holes))
        return changes

    def _moves(self, n: int, height: int, width: int, generator: torch.Generator) -> Iterator[Change]:
        def draw(high: int) -> Tensor:
            return torch.randint(high, (n,), generator=generator, device=generator.device)

        if self.shift or self.flip or self.vertical_flip:
            none = torch.zeros(n, dtype=torch.int64, device=generator.device)
            mirrored = draw(2) if self.flip else none
            upside_down = draw(2) if self.vertical_flip else none
            down, right = (draw(2 * self.shift + 1) for _ in range(2)) if self.shift else (none, none)
            yield Change(partial(moved, shift=self.shift), (mirrored, upside_down, down, right), moves=True)
        if self.crop_scale is not None:
            boxes = draw_boxes(n, height, width, self.crop_scale, self.crop_ratio, generator)
            yield Change(partial(resized_crops, size=self.makes_size), (boxes,))

    def _colours(self, n: int, generator: torch.Generator) -> Iterator[Change]:
        def draw() -> Tensor:
            return torch.rand(n, generator=generator, device=generator.device)

        factors = []
        for name, amount in self.colours.items():
            u = 2 * draw() - 1
            factors.append(amount * u if name == "hue" else (1 + amount * u).clamp_min(0))
        if factors:
            if self.jitter < 1:
                factors.append(draw() < self.jitter)
            yield Change(partial(_coloured, names=tuple(self.colours)), factors)
        if self.grey:
            yield Change(_greyed, (draw() < self.grey,))


def _coloured(images: Tensor, *numbers: Tensor, names: Sequence[str]) -> Tensor:
    """Colours changed by a factor each, in those images that a last tensor names."""
    chosen = numbers[len(names) :]
    before = images.clone() if chosen else images
    for name, factor in zip(names, numbers[: len(names)], strict=True):
        images = colour.CHANGES[name](images, factor)
    return torch.where(chosen[0].view(-1, 1, 1, 1), images, before) if chosen else images


def _greyed(images: Tensor, lost: Tensor) -> Tensor:
    return torch.where(lost.view(-1, 1, 1, 1), colour.grey(images), images)
