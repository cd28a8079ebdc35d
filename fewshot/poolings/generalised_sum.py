"""Generalised sum pooling (Gurbuz et al., 2023): an average that may leave positions out."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import normalize

from fewshot.device import wide
from fewshot.errors import FewshotError

_REACH, _HALVINGS = 300.0, 70


def transport_weights(
    nearness: Float[Tensor, "n p"], share: float
) -> tuple[Float[Tensor, "n p"], Float[Tensor, "n 1"]]:
    """Weights with mean 1 of the positions of an image, and the number that settles them.

    They solve the entropic partial transport of `share` of the positions' mass: with `l = logsumexp_k(-gamma c_k)` the
    weight of a position is `sigmoid(a + l) / share`, and a is the one number for which the weights have mean 1. It is
    found by bisection; one Newton step behind it carries the gradient, which is then exact.

    Args:
        nearness: l of each position.
        share: mu, more than 0 and less than 1.

    Source: Gurbuz et al., Generalized Sum Pooling for Metric Learning, 2023, equations 3 and 4; the fixed point of the
    iteration there is this number.
    """
    fixed = wide(nearness.detach())
    low = fixed.new_full((len(fixed), 1), -_REACH) - fixed.amax(1, keepdim=True)
    high = fixed.new_full((len(fixed), 1), _REACH) - fixed.amin(1, keepdim=True)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        above = (middle + fixed).sigmoid().mean(1, keepdim=True) > share
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    a = ((low + high) / 2).to(nearness.dtype)
    kept = (a + nearness).sigmoid()
    slope = (kept * (1 - kept)).mean(1, keepdim=True).detach()
    a = a - (kept.mean(1, keepdim=True) - share) / slope.clamp_min(torch.finfo(slope.dtype).tiny)
    return (a + nearness).sigmoid() / share, a


class GeneralisedSumPooling(nn.Module):
    """A weighted mean of the last map over its positions; those near a learned prototype weigh more.

    The cost of position j and prototype k is the Euclidean distance of the local feature and the prototype, each
    scaled down to length 1 if it is longer. The zero-shot loss that the authors add in training is not here.

    Args:
        stage_shapes: `(c, h, w)` of each map.
        prototypes: how many.
        share: mu, of the positions that count, more than 0; 1 is the plain mean.
        sharpness: gamma; large values choose the best positions and leave out the others.

    Raises:
        FewshotError: no prototypes, a share outside 0 to 1, or a sharpness that is not positive.

    Source: Gurbuz, Sener, Alatan, Generalized Sum Pooling for Metric Learning, 2023, section 4. Prototypes start as random
    unit vectors; the authors take them from the classifier's weights.
    """

    def __init__(
        self,
        stage_shapes: Sequence[tuple[int, int, int]],
        prototypes: int = 64,
        share: float = 0.3,
        sharpness: float = 5.0,
    ):
        super().__init__()
        if prototypes < 1:
            raise FewshotError(f"pooling.prototypes={prototypes}; expected at least 1")
        if not 0 < share <= 1:
            raise FewshotError(f"pooling.share={share}; expected more than 0 and at most 1")
        if not sharpness > 0:
            raise FewshotError(f"pooling.sharpness={sharpness}; expected more than 0")
        self.feature_size = stage_shapes[-1][0]
        self.map_shape = (self.feature_size, 1, 1)
        self.share, self.sharpness = share, sharpness
        self.prototypes = nn.Parameter(normalize(torch.randn(prototypes, self.feature_size), dim=1))

    def weights(self, local: Float[Tensor, "n p d"]) -> Float[Tensor, "n p"]:
        """Of the positions of each image; their mean is 1."""
        if self.share == 1:
            return torch.ones_like(local[..., 0])
        local, centres = (part / part.norm(dim=-1, keepdim=True).clamp_min(1) for part in (local, self.prototypes))
        # The small number keeps the root's gradient finite where a position lies on a prototype.
        squares = local.square().sum(-1, keepdim=True) + centres.square().sum(-1) - 2 * local @ centres.T
        cost = (squares.clamp_min(0) + 1e-12).sqrt()
        return transport_weights((-self.sharpness * cost).logsumexp(-1), self.share)[0]

    def forward(self, maps: list[Float[Tensor, "n _ _ _"]]) -> Float[Tensor, "n d"]:
        """The maps of all stages to features."""
        local = maps[-1].flatten(2).transpose(1, 2)
        return (self.weights(local).unsqueeze(-1) * local).mean(1)
