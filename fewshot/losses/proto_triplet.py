"""The Proto-Triplet loss (Mendez-Ruiz et al., 2023)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fewshot.distances.euclidean import squared_euclidean
from fewshot.episodes.episodes import Episodes
from fewshot.episodes.prototypes import prototypes
from fewshot.errors import FewshotError
from fewshot.losses.loss_value import LossValue

# Under the root, so that its gradient is finite where two points coincide; the authors' value.
_EPSILON = 1e-6


class ProtoTriplet(nn.Module):
    """Each query is to be nearer the prototype of its class than any other prototype, by a margin.

    `mean_q max(0, d(x_q, p_y) - min_{c != y} d(x_q, p_c) + margin)` with the Euclidean distance, not squared. The
    gradient reaches queries and, through the prototypes, the support.

    Args:
        margin: at least 0.

    Raises:
        FewshotError: a negative margin, or tasks without support.

    Source: Mendez-Ruiz et al., SuSana Distancia is all you need, 2023; the formula is that of the authors' public code.
    """

    def __init__(self, margin: float = 0.5):
        super().__init__()
        if margin < 0:
            raise FewshotError(f"loss.margin={margin}; expected at least 0")
        self.margin = margin

    def forward(self, episodes: Episodes, logits: Float[Tensor, "b q n"]) -> LossValue:
        """Features of a batch of tasks to a scalar; the logits are not used."""
        if not episodes.support.shape[1]:
            raise FewshotError(
                "loss=proto_triplet compares with prototypes of the support, and these tasks have none; use another "
                "loss, or, where steps on the support learn by it, learner.split=halves or leave_one_out"
            )
        centres = prototypes(episodes.support, episodes.support_labels, episodes.way)
        distance = (squared_euclidean(episodes.query, centres) + _EPSILON).sqrt()
        own = episodes.query_labels[..., None]
        nearest_other = distance.scatter(-1, own, torch.inf).amin(-1)
        value = (distance.gather(-1, own).squeeze(-1) - nearest_other + self.margin).relu().mean()
        return LossValue(value, {"proto_triplet": value.detach()})
