"""`Pipeline`: the named way from an image file to pixels; numbers of different pipelines do not compare."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from PIL import Image, ImageOps

from fewshot.errors import FewshotError

Box = tuple[float, float, float, float]

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_MINI = ((120.396 / 255, 115.594 / 255, 104.540 / 255), (70.682 / 255, 68.276 / 255, 72.545 / 255))
_RESIDUAL = ((125.3 / 255, 123.0 / 255, 113.9 / 255), (63.0 / 255, 62.1 / 255, 66.7 / 255))
_CIFAR = ((129.377 / 255, 124.106 / 255, 112.478 / 255), (68.209 / 255, 65.431 / 255, 70.459 / 255))


@dataclass(frozen=True)
class Pipeline:
    """How an image becomes uint8 pixels `[channels, size, size]`, and how those are normalised.

    Args:
        name: in the rows.
        size: side of the result, in pixels.
        scale: side to which the image is resized before its middle `size` x `size` is cut out.
        fit: `squash` resizes to a square whatever the proportions; `shorter` brings the shorter side to
            `scale`; `middle` cuts out the largest square in the middle and resizes that.
        filter: `bilinear` or `lanczos`, both antialiased.
        channels: 3 for RGB, 1 for grey.
        mean, std: per channel, of pixels in 0..1; empty leaves 0..1.
        upright: turn a photo as its EXIF orientation says.
        made_for: `84px` or `originals`, the images that the pipeline's authors put into it.
        on_white: lay what is transparent on white; without, transparency is ignored, as by torchvision.
    """

    name: str
    size: int
    scale: int
    fit: Literal["squash", "shorter", "middle"]
    filter: Literal["bilinear", "lanczos"] = "bilinear"
    channels: int = 3
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    upright: bool = False
    made_for: str | None = None
    # Not in what names a prepared bank: no named pipeline has it.
    on_white: bool = field(default=False, repr=False)

    def pixels(self, image: Image.Image, box: Box | None = None) -> np.ndarray:
        """The pixels of an image, uint8 `[channels, size, size]`.

        Args:
            image: as Pillow opened it.
            box: left, top, right, bottom of the part to use; all of it without.
        """
        if self.upright:
            image = ImageOps.exif_transpose(image)
        if self.on_white and (image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info):
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        image = _eight_bits(image).convert("L" if self.channels == 1 else "RGB")
        if box is not None:
            image = image.crop(tuple(round(edge) for edge in box))
        filter = Image.Resampling.LANCZOS if self.filter == "lanczos" else Image.Resampling.BILINEAR
        width, height = image.size
        if self.fit == "middle":
            side = min(width, height)
            left, top = (width - side) // 2, (height - side) // 2
            image = image.resize((self.scale, self.scale), filter, box=(left, top, left + side, top + side))
        elif self.fit == "squash":
            image = image.resize((self.scale, self.scale), filter)
        else:
            # The longer side is rounded down, as torchvision does it.
            short = min(width, height)
            image = image.resize((self.scale * width // short, self.scale * height // short), filter)
        if image.size != (self.size, self.size):
            left, top = round((image.width - self.size) / 2), round((image.height - self.size) / 2)
            image = image.crop((left, top, left + self.size, top + self.size))
        return np.asarray(image).reshape(self.size, self.size, self.channels).transpose(2, 0, 1)


def _eight_bits(image: Image.Image) -> Image.Image:
    # Pillow's own conversion of deeper grey images saturates: all above 255 would be white.
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError("32 bits per pixel; expected 8 or 16")
    return image


def _named(name: str, size: int, scale: int, fit: str, statistics=((), ()), made_for="originals", **more) -> Pipeline:
    return Pipeline(name, size, scale, fit, mean=statistics[0], std=statistics[1], made_for=made_for, **more)


PIPELINES = {
    pipeline.name: pipeline
    for pipeline in (
        _named("ravi84", 84, 84, "squash", _MINI, "84px", filter="lanczos"),
        _named("simpleshot", 84, 96, "shorter", _IMAGENET),
        _named("chen", 84, 96, "squash", _IMAGENET),
        _named("chen224", 224, 257, "squash", _IMAGENET),
        _named("deepemd", 84, 92, "squash", _RESIDUAL),
        _named("metabaseline", 80, 80, "shorter", _IMAGENET, "84px"),
        _named("msenet", 84, 84, "squash"),
        _named("cifar32", 32, 32, "squash", _CIFAR, None),
    )
}
"""The pipelines of the papers, by name."""


def pipeline_named(name: str, option: str = "data.pipeline") -> Pipeline:
    """The pipeline of that name; `squash84` and the like are whole images of 84x84 pixels, without normalisation.

    Args:
        name: of one of `PIPELINES`, or `squash` and a number of pixels.
        option: that has it, for messages.

    Raises:
        FewshotError: there is none.
    """
    if name in PIPELINES:
        return PIPELINES[name]
    size = name.removeprefix("squash")
    if size == name or not size.isdecimal() or not int(size):
        raise FewshotError(f"{option}={name}; expected one of {', '.join(PIPELINES)}, or squash84 and the like")
    return Pipeline(name, int(size), int(size), "squash")
