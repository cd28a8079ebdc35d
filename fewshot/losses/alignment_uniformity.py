"""Alignment and uniformity on the unit sphere (Wang and Isola, 2020), as regularisers."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import normalize

from fewshot.distances.euclidean import squared_euclidean
from fewshot.episodes.episodes import Episodes
from fewshot.episodes.prototypes import prototypes
from fewshot.errors import FewshotError
from fewshot.losses.loss_value import LossValue


class Alignment(nn.Module):
    """The mean of `||u(x) - u(y)||^power` over pairs of items of the same class, support and queries together.

    Args:
        power: of the distance, more than 0.

    Raises:
        FewshotError: a power that is not positive, or tasks without two items of a class.

    Source: Wang and Isola, Understanding Contrastive Representation Learning through Alignment and Uniformity on the
    Hypersphere, 2020, section 4.1. Pairs of a class stand for the two views of an image there.
    """

    counts_pairs = True

    def __init__(self, power: float = 2.0):
        super().__init__()
        if not power > 0:
            raise FewshotError(f"loss.power={power}; expected more than 0")
        self.power = power

    def forward(self, episodes: Episodes, logits: Float[Tensor, "b q n"]) -> LossValue:
        """Features of a batch of tasks to a scalar, the mean over tasks; the logits are not used."""
        items = normalize(torch.cat([episodes.support, episodes.query], dim=1), dim=-1)
        labels = torch.cat([episodes.support_labels, episodes.query_labels], dim=1)
        pairs = (labels[:, :, None] == labels[:, None]).triu(1)
        counts = pairs.sum((1, 2))
        if not bool((counts > 0).all()):
            raise FewshotError("loss=alignment needs two items of a class in each task; use more shots or queries")
        # The root's gradient is infinite at 0, where two items coincide.
        distance = squared_euclidean(items, items).clamp_min(1e-12) ** (self.power / 2)
        value = ((distance * pairs).sum((1, 2)) / counts).mean()
        return LossValue(value, {"alignment": value.detach()})


class Uniformity(nn.Module):
    """`log mean exp(-t ||u(x) - u(y)||^2)` over pairs of points of a task.

    Points are the prototypes by default: all items would push those of one class apart as well.

    Args:
        t: more than 0.
        points: `prototypes`, or `items` for support and queries together.

    Raises:
        FewshotError: a t that is not positive, unknown points, or prototypes of tasks without support.

    Source: Wang and Isola 2020, section 4.1.2; the choice of prototypes is ours.
    """

    def __init__(self, t: float = 2.0, points: str = "prototypes"):
        super().__init__()
        if not t > 0:
            raise FewshotError(f"loss.t={t}; expected more than 0")
        if points not in ("prototypes", "items"):
            raise FewshotError(f"loss.points={points}; expected prototypes or items")
        self.t, self.points = t, points

    def forward(self, episodes: Episodes, logits: Float[Tensor, "b q n"]) -> LossValue:
        """Features of a batch of tasks to a scalar, the mean over tasks; the logits are not used."""
        if self.points == "prototypes":
            if not episodes.support.shape[1]:
                raise FewshotError(
                    "loss=uniformity compares prototypes of the support, and these tasks have none; use loss.points=items"
                )
            points = prototypes(episodes.support, episodes.support_labels, episodes.way)
        else:
            points = torch.cat([episodes.support, episodes.query], dim=1)
        points = normalize(points, dim=-1)
        i, j = torch.triu_indices(points.shape[1], points.shape[1], 1, device=points.device)
        exponents = -self.t * squared_euclidean(points, points)[:, i, j]
        value = (exponents.logsumexp(-1) - math.log(len(i))).mean()
        return LossValue(value, {"uniformity": value.detach()})
