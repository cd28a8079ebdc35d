"""Cosine similarity."""

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize


def cosine_similarity(x: Float[Tensor, "*b q d"], y: Float[Tensor, "*b n d"]) -> Float[Tensor, "*b q n"]:
    """`<x_q, y_n> / (||x_q|| ||y_n||)` for all pairs; a zero vector is similar to nothing (0)."""
    return normalize(x, dim=-1) @ normalize(y, dim=-1).transpose(-1, -2)
