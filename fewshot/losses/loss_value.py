"""What a loss returns."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor


class LossValue(NamedTuple):
    """A scalar to minimise and the named parts that it is made of.

    Args:
        total: scalar with a gradient.
        parts: scalars by name, for the training curve.
    """

    total: Float[Tensor, ""]
    parts: dict[str, Tensor]
