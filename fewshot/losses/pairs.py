"""Losses over pairs of items of a task, by pytorch-metric-learning."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fewshot.distances.euclidean import squared_euclidean
from fewshot.episodes.episodes import Episodes
from fewshot.errors import FewshotError
from fewshot.losses.loss_value import LossValue

KINDS = ("multi_similarity", "contrastive", "supcon", "batch_hard", "nca")


class PairLoss(nn.Module):
    """A loss over the pairs of items in each task, support and queries together; pairs never cross tasks.

    `multi_similarity` (Wang et al. 2019), `contrastive` (Hadsell et al. 2006) and `supcon` (Khosla et al. 2020) compare
    features of unit length with the cosine, or for `contrastive` the Euclidean distance, as the library has
    them. `batch_hard` (Hermans et al. 2017) is `softplus(d(a, farthest positive) - d(a, nearest negative))` with the
    Euclidean distance of features as they are. `nca` (Goldberger et al. 2005) is `-log` of the share of positives in
    the softmax of minus the squared distances of features as they are.

    Args:
        kind: which.
        options: of the library's loss, such as `alpha`, `beta` and `base` of `multi_similarity`.

    Raises:
        FewshotError: unknown kind or option, or tasks without two items of a class.
    """

    def __init__(self, kind: str = "multi_similarity", **options: float):
        super().__init__()
        if kind not in KINDS:
            raise FewshotError(f"loss.kind={kind}; expected one of {', '.join(KINDS)}")
        self.kind = kind
        # The library needs a second to import, and those who use none of its losses need not wait.
        from pytorch_metric_learning import distances, losses, reducers

        unscaled = {"distance": distances.LpDistance(normalize_embeddings=False), "reducer": reducers.MeanReducer()}
        made = {
            "multi_similarity": lambda: losses.MultiSimilarityLoss(**options),
            "contrastive": lambda: losses.ContrastiveLoss(reducer=reducers.MeanReducer(), **options),
            "supcon": lambda: losses.SupConLoss(**options),
            "batch_hard": lambda: losses.TripletMarginLoss(margin=0.0, smooth_loss=True, **unscaled, **options),
        }
        try:
            self.loss = made[kind]() if kind in made else None
        except TypeError as error:
            raise FewshotError(f"loss: {kind} refuses {options}: {error}") from error
        if kind == "nca" and options:
            raise FewshotError(f"loss: nca has no options, got {options}")

    def forward(self, episodes: Episodes, logits: Float[Tensor, "b q n"]) -> LossValue:
        """Features of a batch of tasks to a scalar, the mean over tasks; the logits are not used."""
        items = torch.cat([episodes.support, episodes.query], dim=1)
        labels = torch.cat([episodes.support_labels, episodes.query_labels], dim=1)
        same = labels[:, :, None] == labels[:, None]
        positive = same & ~torch.eye(items.shape[1], dtype=torch.bool, device=items.device)
        if not bool(positive.any((1, 2)).all()):
            raise FewshotError(
                f"loss.kind={self.kind} needs two items of a class in each task; use more shots or queries"
            )
        value = self._nca(items, positive) if self.kind == "nca" else self._library(items, positive, ~same)
        return LossValue(value, {self.kind: value.detach()})

    def _library(self, items: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        b, m = items.shape[:2]
        # All tasks in one batch: which pairs count is told by their indices.
        start = torch.arange(b, device=items.device) * m
        if self.kind == "batch_hard":
            distance = squared_euclidean(items.detach(), items.detach())
            far = distance.masked_fill(~positive, -1).argmax(-1)
            near = distance.masked_fill(~negative, torch.inf).argmin(-1)
            anchor = torch.arange(m, device=items.device).expand(b, -1)
            both = positive.any(-1) & negative.any(-1)
            indices = tuple((index + start[:, None])[both] for index in (anchor, far, near))
        else:
            task, anchor, other = positive.nonzero(as_tuple=True)
            far_task, far_anchor, far_other = negative.nonzero(as_tuple=True)
            indices = (
                start[task] + anchor, start[task] + other, start[far_task] + far_anchor, start[far_task] + far_other
            )  # fmt: skip
        return self.loss(items.flatten(0, 1), torch.zeros(b * m, dtype=torch.int64, device=items.device), indices)

    @staticmethod
    def _nca(items: Tensor, positive: Tensor) -> Tensor:
        itself = torch.eye(items.shape[1], dtype=torch.bool, device=items.device)
        share = (-squared_euclidean(items, items)).masked_fill(itself, -torch.inf).log_softmax(-1)
        has = positive.any(-1)
        return -share.masked_fill(~positive, -torch.inf).logsumexp(-1)[has].mean()
