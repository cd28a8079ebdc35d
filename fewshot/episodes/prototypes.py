"""The mean of each class's support features."""

from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import one_hot


def prototypes(support: Float[Tensor, "b s d"], labels: Int64[Tensor, "b s"], way: int) -> Float[Tensor, "b n d"]:
    """The mean support feature of each class; classes may have different numbers of shots.

    Source: Snell et al. 2017, equation 1.
    """
    member = one_hot(labels, way).to(support.dtype)
    return member.transpose(1, 2) @ support / member.sum(1).unsqueeze(-1)
