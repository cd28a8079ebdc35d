"""`ImageFormat`: what a backbone was trained on, and bringing other banks to it."""

import math
from dataclasses import asdict, dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from fewshot.data.bank import Bank
from fewshot.errors import FewshotError, check_kind

_CHUNK = 256
# ITU-R 601, as Pillow and torchvision weigh them.
_LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class ImageFormat:
    """The form in which a learner expects images.

    Args:
        channels: 3 for RGB, 1 for grey.
        height, width: in pixels.
        mean, std: per channel, with which pixels in 0..1 are normalised.
        pipeline: that made such images.
    """

    channels: int
    height: int
    width: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    pipeline: str

    def __post_init__(self):
        for name in ("mean", "std"):
            values = tuple(float(value) for value in getattr(self, name))
            if len(values) != self.channels:
                raise FewshotError(f"image format: {name} has {len(values)} values for {self.channels} channels")
            object.__setattr__(self, name, values)

    @classmethod
    def of(cls, bank: Bank) -> "ImageFormat":
        """The format of a bank of images."""
        return cls(*bank.items.shape[1:], tuple(bank.mean), tuple(bank.std), bank.pipeline)

    @classmethod
    def from_json(cls, facts: dict) -> "ImageFormat":
        """What `to_json` wrote."""
        return cls(**(facts | {"mean": tuple(facts["mean"]), "std": tuple(facts["std"])}))

    def fits(self, other: "ImageFormat") -> bool:
        """Whether images of `other` are as these to a learner: the same size, channels and normalisation."""
        sizes = [(form.channels, form.height, form.width) for form in (self, other)]
        numbers = zip(self.mean + self.std, other.mean + other.std, strict=True) if sizes[0] == sizes[1] else ()
        # Numbers that went through 32 bits are the same.
        return sizes[0] == sizes[1] and all(math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-7) for a, b in numbers)

    def __str__(self) -> str:
        numbers = ["(" + ", ".join(f"{value:.4g}" for value in part) + ")" for part in (self.mean, self.std)]
        return f"{self.height}x{self.width} pixels of {self.channels} channel{'s' if self.channels > 1 else ''}, mean {numbers[0]}, std {numbers[1]}"

    def to_json(self) -> dict:
        """Plain JSON, for files of weights."""
        return asdict(self) | {"mean": list(self.mean), "std": list(self.std)}


def in_format(bank: Bank, wanted: ImageFormat) -> Bank:
    """`bank` as a learner that was trained on images of `wanted` can take it; itself if it fits already.

    Grey images become RGB by repeating their channel, RGB ones grey by their luma. Images of another size
    are scaled as a whole, whatever their proportions, bilinearly and antialiased. Pixels are normalised as
    those of the training images. The pipeline's name then says `<its own> as <that of the training images>`.

    Raises:
        FewshotError: the channels are neither 1 nor 3, the bank has features, or there is no format, as of a learner that was not
            trained.
    """
    check_kind("bank", bank, Bank, 'open_dataset("glyphs").bank("test")')
    check_kind("the format", wanted, ImageFormat, "learner.image_format of a trained learner, or ImageFormat.of(bank)")
    if not bank.is_images:
        raise FewshotError(f"{bank.name}/{bank.split} has features, which have no image format")
    own = ImageFormat.of(bank)
    if own.fits(wanted):
        return bank
    items = bank.items
    if (own.channels, own.height, own.width) != (wanted.channels, wanted.height, wanted.width):
        if {own.channels, wanted.channels} - {1, 3} and own.channels != wanted.channels:
            raise FewshotError(
                f"{bank.name}/{bank.split} has {own.channels} channels, the learner was trained on {wanted.channels}; "
                f"only 1 and 3 can be turned into each other"
            )
        shape = (len(items), wanted.channels, wanted.height, wanted.width)
        converted = torch.empty(shape, dtype=items.dtype, device=items.device)
        for start in range(0, len(items), _CHUNK):
            rows = slice(start, start + _CHUNK)
            converted[rows] = _converted(items[rows], wanted)
        items = converted
    return bank.replacing(
        items=items,
        mean=wanted.mean,
        std=wanted.std,
        pipeline=f"{bank.pipeline} as {wanted.pipeline}",
        _known_fingerprint=bank.fingerprint if items is bank.items else None,
    )


def _converted(items: Tensor, wanted: ImageFormat) -> Tensor:
    if items.shape[1] > wanted.channels:
        weights = torch.tensor(_LUMA, device=items.device)[:, None, None]
        items = (items * weights).sum(1, keepdim=True).round().to(torch.uint8)
    if items.shape[2:] != (wanted.height, wanted.width):
        size = (wanted.height, wanted.width)
        larger = interpolate(items.float(), size, mode="bilinear", antialias=True)
        items = larger.round().clamp(0, 255).to(torch.uint8)
    return items.expand(-1, wanted.channels, -1, -1)
