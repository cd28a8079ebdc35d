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
        parts = {part: torch.as_tensor(value, device=getattr(total, "device", None)) for part, value in parts.items()}
        made = total if not isinstance(total, Tensor) or total.ndim else LossValue(total, parts)
    if isinstance(made, LossValue):
        return made
    if isinstance(made, Tensor) and made.ndim == 0 and made.is_floating_point():
        return LossValue(made, {name: made.detach()})
    found = f"a tensor of shape {list(made.shape)}" if isinstance(made, Tensor) else f"a {type(made).__name__}"
    raise FewshotError(f"loss: {name} returns {found}; expected a scalar tensor, or LossValue(total, parts)")
