"""The ICNN score and loss: inter and intra class nearest neighbours (Mendez-Ruiz et al., 2023)."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from fewshot.distances.euclidean import squared_euclidean
from fewshot.episodes.episodes import Episodes
from fewshot.errors import FewshotError
from fewshot.losses.loss_value import LossValue

_ROOT, _TINY, _LEAST = 1e-6, 1e-7, 1e-6
VARIANTS = ("support", "query", "full")


def icnn_score(
    points: Float[Tensor, "b m d"],
    labels: Int64[Tensor, "b m"],
    targets: Float[Tensor, "b t d"] | None = None,
    target_labels: Int64[Tensor, "b t"] | None = None,
    neighbours: int = 4,
    inspected: int | None = None,
    spread: bool = False,
) -> Float[Tensor, " b"]:
    """How well classes are separated in the neighbourhood of each point, per task, in 0..1.

    The mean of two parts: lambda, half of which says that neighbours of the own class are near (measured by the
    nearest one of another class) and half that neighbours of other classes are far (measured by the farthest of those);
    and gamma, the share of the own class among the neighbours, which has no gradient.

    Args:
        points: whose neighbourhoods are looked at.
        labels: of the points.
        targets: among which neighbours are looked for; None for the points themselves, each without itself.
        target_labels: of the targets.
        neighbours: k of each point.
        inspected: how many neighbours the nearest one of another class is looked for in; k + 1 for None.
        spread: add the third part omega, one minus the variances of both kinds of distances.

    Source: the authors' public training code (`modified score`); the paper's own notation was not at hand.
    """
    itself = targets is None
    if targets is None or target_labels is None:
        targets, target_labels = points, labels
    total = targets.shape[1]
    k = max(1, min(neighbours, total - 2))
    few = neighbours + 2 >= total
    inspected = min(max(k, neighbours + 1 if inspected is None else inspected), total - itself)
    distance = (squared_euclidean(points, targets) + _ROOT).sqrt()
    if itself:
        # Each point is its own nearest, even where others lie on top of it.
        own = torch.eye(total, dtype=torch.bool, device=distance.device)
        order = distance.masked_fill(own, -1).argsort(-1)[..., 1 : inspected + 1]
    else:
        order = distance.argsort(-1)[..., :inspected]
    d = distance.gather(-1, order)
    same = target_labels[:, None].expand_as(distance).gather(-1, order) == labels[..., None]
    nearest_other = d.masked_fill(same, torch.inf).amin(-1, keepdim=True)
    d, same = d[..., :k], same[..., :k]
    scaled = d / (nearest_other + _TINY)
    scaled = scaled / scaled.amax(-1, keepdim=True).clamp_min(1)
    own_count, other_count = same.sum(-1), (~same).sum(-1)
    near = _mean_of_rows(scaled * same, own_count)
    foreign = d * ~same
    farthest = foreign.amax((1, 2), keepdim=True)
    foreign = foreign / farthest.clamp_min(_TINY)
    far = torch.where((other_count > 0).any(-1), _mean_of_rows(foreign, other_count), 1.0)
    quality = (1 - near + far) / 2
    share = own_count.to(d.dtype).mean(-1) / k
    if few:
        share = torch.ones_like(share)
    if not spread:
        return (quality + share) / 2
    omega = 1 - (scaled * same).flatten(1).var(1) - foreign.flatten(1).var(1)
    return (quality + share + omega) / 3


def _mean_of_rows(values: Float[Tensor, "b m k"], counts: Int64[Tensor, "b m"]) -> Float[Tensor, " b"]:
    """The mean over the rows that have any, of the sum of a row divided by how many it has; 0 where no row has any."""
    rows = values.sum(-1) / (counts + _TINY)
    return rows.sum(-1) / ((counts > 0).sum(-1) + _TINY)


class ICNN(nn.Module):
    """`-log(score)`, the mean over tasks.

    Args:
        variant: `support` looks at support items among themselves, `query` at queries among support items, `full` at
            all items of a task together.
        neighbours: k of each point.
        spread: add the part omega of the score.

    Raises:
        FewshotError: an unknown variant, or no neighbours.

    Source: Mendez-Ruiz et al., SuSana Distancia is all you need, 2023; the formula is that of the authors' public code,
    but queries are not robbed of their nearest support item, which is not themselves.
    """

    def __init__(self, variant: str = "full", neighbours: int = 4, spread: bool = False):
        super().__init__()
        if variant not in VARIANTS:
            raise FewshotError(f"loss.variant={variant}; expected one of {', '.join(VARIANTS)}")
        if neighbours < 1:
            raise FewshotError(f"loss.neighbours={neighbours}; expected at least 1")
        self.variant, self.neighbours, self.spread = variant, neighbours, spread

    def forward(self, episodes: Episodes, logits: Float[Tensor, "b q n"]) -> LossValue:
        """Features of a batch of tasks to a scalar; the logits are not used."""
        if self.variant == "support":
            points, labels, more = episodes.support, episodes.support_labels, {}
        elif self.variant == "query":
            points, labels = episodes.query, episodes.query_labels
            more = {"targets": episodes.support, "target_labels": episodes.support_labels}
        else:
            points = torch.cat([episodes.support, episodes.query], dim=1)
            labels = torch.cat([episodes.support_labels, episodes.query_labels], dim=1)
            more = {"inspected": points.shape[1] // episodes.way}
        if points.shape[1] < 3:
            raise FewshotError(
                f"loss=icnn of variant {self.variant} needs at least 3 items, this task has {points.shape[1]}"
            )
        if self.variant == "query" and not episodes.support.shape[1]:
            raise FewshotError("loss=icnn of variant query compares with the support, and these tasks have none")
        score = icnn_score(points, labels, neighbours=self.neighbours, spread=self.spread, **more)
        value = -score.clamp(_LEAST, 1).log().mean()
        return LossValue(value, {f"icnn_{self.variant}": value.detach()})
