"""What a loss returns."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fewshot.errors import FewshotError


class LossValue(NamedTuple):
    """A scalar to minimise and the named parts that it is made of.

    Args:
        total: scalar with a gradient.
        parts: scalars by name, for the training curve.
    """

    total: Float[Tensor, ""]
    parts: dict[str, Tensor]


def plain_scalars(parts: Mapping[str, object], where: str, device: torch.device) -> dict[str, Tensor]:
    """Named numbers as tensors without a gradient, for the training curve.

    Raises:
        FewshotError: one of them is more than a number.
    """
    numbers = {name: torch.as_tensor(value, device=device).detach() for name, value in parts.items()}
    for name, value in numbers.items():
        if value.numel() != 1:
            raise FewshotError(f"{where} returns {name} of shape {list(value.shape)}; expected a number")
    return {name: value.reshape(()) for name, value in numbers.items()}


def as_loss_value(made: object, loss: nn.Module) -> LossValue:
    """What a loss returned; a scalar by itself is its only part, named after the loss.

    Raises:
        FewshotError: it is neither a scalar nor a scalar with parts.
    """
    name = type(loss).__name__
    if isinstance(made, tuple) and len(made) == 2:
        total, parts = made
        if not isinstance(parts, Mapping):
            raise FewshotError(f"loss: {name} returns parts of type {type(parts).__name__}; expected scalars by name")
        scalar = isinstance(total, Tensor) and total.ndim == 0
        made = LossValue(total, plain_scalars(parts, f"loss: {name}", total.device)) if scalar else total
    if isinstance(made, LossValue):
        return made
    if isinstance(made, Tensor) and made.ndim == 0 and made.is_floating_point():
        return LossValue(made, {name: made.detach()})
    found = f"a tensor of shape {list(made.shape)}" if isinstance(made, Tensor) else f"a {type(made).__name__}"
    raise FewshotError(f"loss: {name} returns {found}; expected a scalar tensor, or LossValue(total, parts)")
