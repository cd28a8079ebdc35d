"""The mean of each class's support features."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor


def membership(labels: Int64[Tensor, "b s"], way: int, dtype: torch.dtype) -> Float[Tensor, "b s n"]:
    """1 where an item is of a class, 0 elsewhere; unlike the library's `one_hot` it works under `torch.vmap`."""
    return (labels[..., None] == torch.arange(way, device=labels.device)).to(dtype)


def prototypes(support: Float[Tensor, "b s d"], labels: Int64[Tensor, "b s"], way: int) -> Float[Tensor, "b n d"]:
    """The mean support feature of each class; classes may have different numbers of shots.

    Source: Snell et al. 2017, equation 1.
    """
    member = membership(labels, way, support.dtype)
    return member.transpose(1, 2) @ support / member.sum(1).unsqueeze(-1)
