"""Squared Euclidean distance."""

import torch
from jaxtyping import Float
from torch import Tensor


def squared_euclidean(x: Float[Tensor, "*b q d"], y: Float[Tensor, "*b n d"]) -> Float[Tensor, "*b q n"]:
    """`||x_q - y_n||^2` for all pairs, as one batched matrix product.

    Both sides are first moved by the mean of `y`, which changes no distance and keeps the expansion
    `||x||^2 - 2 x.y + ||y||^2` from cancelling when features are far from the origin.
    """
    centre = y.mean(dim=-2, keepdim=True)
    x, y = x - centre, y - centre
    squares = _squares(x).unsqueeze(-1) + _squares(y).unsqueeze(-2)
    # Twice the smaller side, which is as exact as twice the product.
    return (squares - x @ (2 * y).transpose(-1, -2)).clamp_min(0)


def _squares(x: Float[Tensor, "*b n d"]) -> Float[Tensor, "*b n"]:
    """`||x||^2`; where gradients are off without a copy of x, which may be most of the time of a meta-test."""
    if torch.is_grad_enabled():
        return x.square().sum(-1)
    return torch.linalg.vector_norm(x, dim=-1).square()
