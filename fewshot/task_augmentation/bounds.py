"""Boxes carried through the blocks of a network: how far maps can move when pixels do."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import singledispatch
from itertools import groupby

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear

from fewshot.errors import FewshotError


@dataclass(frozen=True, eq=False)
class Box:
    """All maps between `point - below` and `point + above`.

    The distances are carried instead of the bounds, so that bounds never cross and a box without width stays one to the bit.
    As long as they are the same for all images they may be those of one, and as long as `below` is `above` they are carried once.

    Args:
        point: the map of the image itself.
        above: from the point to the upper bound, at least 0.
        below: from the lower bound to the point, at least 0.
    """

    point: Float[Tensor, "n ..."]
    above: Float[Tensor, "m ..."]
    below: Float[Tensor, "m ..."]

    @property
    def upper(self) -> Tensor:
        return _moved(self.point, self.above, 1)

    @property
    def lower(self) -> Tensor:
        return _moved(self.point, self.below, -1)

    def __add__(self, other: "Box") -> "Box":
        """The box of all sums."""
        above = self.above + other.above
        even = self.below is self.above and other.below is other.above
        return Box(self.point + other.point, above, above if even else self.below + other.below)


def _moved(point: Tensor, distance: Tensor, sign: int) -> Tensor:
    """`point + sign * distance`, one distance for all images or one for each."""
    if point.dim() != 4 or len(distance) == len(point):
        return point + sign * distance
    # Images as rows: the gradient of what they share is a sum of rows, many times as fast as one over four dimensions.
    channels, height, width = point.shape[1:]
    rows = point.movedim(1, -1).flatten(1) + sign * distance.movedim(1, -1).flatten(1)
    return rows.unflatten(1, (height, width, channels)).movedim(-1, 1)


@singledispatch
def through(module: nn.Module, box: Box) -> Box:
    """The box of what a module makes of a box; exact for affine modules and for monotone ones.

    A module that is more than a chain says how it is made of others with `by(apply, x)`.

    Raises:
        FewshotError: it is not known how bounds go through such a module.

    Source: Datta et al., Interval Bound Interpolation for Few-shot Learning with Few Tasks, 2023, section 3.2, and the authors'
    code; the sum of boxes is this project's, for residual blocks.
    """
    if hasattr(module, "by"):
        return module.by(through, box)
    raise FewshotError(
        f"task_augmentation: bounds cannot be carried through {type(module).__name__}; use backbone=conv4 or resnet12"
    )


@through.register
def _(module: nn.Sequential, box: Box) -> Box:
    for monotone, parts in groupby(module, lambda part: isinstance(part, _MONOTONE)):
        if monotone:
            box = _monotone(parts, box)
        else:
            for part in parts:
                box = through(part, box)
    return box


@through.register
def _(module: nn.Identity, box: Box) -> Box:
    return box


_MONOTONE = (nn.ReLU, nn.LeakyReLU, nn.MaxPool2d)


@through.register(nn.ReLU)
@through.register(nn.LeakyReLU)
@through.register(nn.MaxPool2d)
def _(module: nn.Module, box: Box) -> Box:
    return _monotone([module], box)


def _monotone(modules: Iterable[nn.Module], box: Box) -> Box:
    """Bounds go through monotone modules as images do, all of them in one go."""
    upper, point, lower = box.upper, box.point, box.lower
    for module in modules:
        # The point last, for it may be done in place and is the network's own.
        upper, lower, point = module(upper), module(lower), module(point)
    return Box(point, upper - point, point - lower)


@through.register
def _(module: nn.Conv2d, box: Box) -> Box:
    if module.padding_mode != "zeros":
        raise FewshotError(f"task_augmentation: bounds need padding with zeros, not {module.padding_mode}")

    def apply(weight: Tensor, x: Tensor) -> Tensor:
        return conv2d(x, weight, None, module.stride, module.padding, module.dilation, module.groups)

    return _affine(module, apply, box)


@through.register
def _(module: nn.Linear, box: Box) -> Box:
    return _affine(module, lambda weight, x: linear(x, weight), box)


def _affine(module: nn.Module, apply, box: Box) -> Box:
    """The middle of the box, seen from the point, goes through the weights, half its width through their sizes."""
    if box.below is box.above:
        radius = apply(module.weight.abs(), box.above)
        return Box(module(box.point), radius, radius)
    middle = apply(module.weight, (box.above - box.below) / 2)
    radius = apply(module.weight.abs(), (box.above + box.below) / 2)
    # Never negative but for rounding.
    return Box(module(box.point), (radius + middle).clamp_min(0), (radius - middle).clamp_min(0))


class _Variance(torch.autograd.Function):
    """Variance and mean of columns, with a gradient of one pass: `var` over three dimensions takes as long as a training step."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> tuple[Tensor, Tensor]:
        mean = x.mean(0)
        return (x - mean).square_().mean(0), mean

    @staticmethod
    def setup_context(context, inputs, outputs) -> None:
        context.save_for_backward(*inputs, outputs[1])

    @staticmethod
    def backward(context, by_variance: Tensor, by_mean: Tensor) -> Tensor:
        x, mean = context.saved_tensors
        slope = by_variance * (2 / len(x))
        # (x - mean) * slope and the slope of the mean, in one pass.
        return torch.addcmul(by_mean / len(x) - mean * slope, x, slope)


@through.register
def _(module: nn.BatchNorm2d, box: Box) -> Box:
    """Point and bounds are normalised by the statistics of the points."""
    if module.training or module.running_var is None:
        # In 32 bits at least, as BatchNorm's own.
        pixels = box.point.to(torch.promote_types(box.point.dtype, torch.float32)).movedim(1, -1).flatten(0, -2)
        variance, _ = _Variance.apply(pixels)
    else:
        variance = module.running_var
    scale = (variance + module.eps).rsqrt()
    scale = (scale if module.weight is None else scale * module.weight).to(box.point.dtype)[:, None, None]
    point = module(box.point)
    if box.below is box.above:
        reach = scale.abs() * box.above
        return Box(point, reach, reach)
    up, down = scale.clamp_min(0), (-scale).clamp_min(0)
    return Box(point, up * box.above + down * box.below, up * box.below + down * box.above)


@through.register(nn.Dropout)
@through.register(nn.Dropout2d)
def _dropped(module: nn.Module, box: Box) -> Box:
    """The same values are dropped, and the others scaled alike, in all three."""
    if not module.training:
        return box
    kept = module(torch.ones_like(box.point))
    above = box.above * kept
    return Box(box.point * kept, above, above if box.below is box.above else box.below * kept)
