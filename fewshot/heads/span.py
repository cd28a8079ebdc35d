"""Fewer dimensions for methods that do not leave the span of a task's items."""

import torch
from jaxtyping import Float
from torch import Tensor


def span_basis(items: Float[Tensor, "b m d"]) -> Float[Tensor, "b d k"] | None:
    """An orthonormal basis of what the items of each task span, k = m vectors; None where m is not less than d.

    Distances and products of the items are those of their coordinates `items @ basis`.
    """
    if items.shape[1] >= items.shape[2]:
        return None
    return torch.linalg.qr(items.transpose(1, 2)).Q
