"""Squared Euclidean distance."""

from jaxtyping import Float
from torch import Tensor


def squared_euclidean(x: Float[Tensor, "*b q d"], y: Float[Tensor, "*b n d"]) -> Float[Tensor, "*b q n"]:
    """`||x_q - y_n||^2` for all pairs, as one batched matrix product.

    Both sides are first moved by the mean of `y`, which changes no distance and keeps the expansion
    `||x||^2 - 2 x.y + ||y||^2` from cancelling when features are far from the origin.
    """
    centre = y.mean(dim=-2, keepdim=True)
    x, y = x - centre, y - centre
    squares = x.square().sum(-1, keepdim=True) + y.square().sum(-1).unsqueeze(-2)
    return (squares - 2 * x @ y.transpose(-1, -2)).clamp_min(0)
