"""Fewer dimensions for methods that do not leave the span of a task's items."""

import torch
from jaxtyping import Float
from torch import Tensor

from fewshot.device import wide


def span_basis(items: Float[Tensor, "b m d"]) -> Float[Tensor, "b d k"] | None:
    """An orthonormal basis of what the items of each task span, k = m vectors; None where m is not less than d.

    Distances and products of the items are those of their coordinates `items @ basis`.
    """
    if items.shape[1] >= items.shape[2]:
        return None
    return torch.linalg.qr(items.transpose(1, 2)).Q


def span_coordinates(
    support: Float[Tensor, "b s d"], query: Float[Tensor, "b q d"]
) -> tuple[Float[Tensor, "b s k"], Float[Tensor, "b q k"]]:
    """Support and queries in coordinates of what they span together, k = s + q; as they are where that is not less than d.

    The factor of their products by Cholesky: no basis is made, which takes longer, above all on a GPU.
    """
    items = torch.cat([support, query], dim=1)
    if items.shape[1] >= items.shape[2]:
        return support, query
    exact = wide(items)
    if exact.dtype == torch.float32:
        # Products of 32 bits are too coarse to be factored.
        coordinates = items @ span_basis(items)
    else:
        products = exact @ exact.transpose(1, 2)
        # Items that depend on others would have a root of less than 0 by rounding.
        diagonal = products.diagonal(dim1=1, dim2=2)
        diagonal += (1e-13 * diagonal.sum(1, keepdim=True)).clamp_min(torch.finfo(exact.dtype).tiny)
        coordinates = torch.linalg.cholesky_ex(products).L.to(items.dtype)
    return tuple(coordinates.split([support.shape[1], query.shape[1]], dim=1))
