"""Losses over pairs of items of a task, by pytorch-metric-learning."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fewshot.distances.cosine import cosine_similarity
from fewshot.distances.euclidean import squared_euclidean
from fewshot.episodes.episodes import Episodes
from fewshot.errors import FewshotError
from fewshot.losses.loss_value import LossValue

KINDS = ("multi_similarity", "contrastive", "supcon", "batch_hard", "nca")
PAIRS = ("pooled", "cross")


class PairLoss(nn.Module):
    """A loss over pairs of items in each task; pairs never cross tasks.

    `multi_similarity` (Wang et al. 2019), `contrastive` (Hadsell et al. 2006) and `supcon` (Khosla et al. 2020) compare
    features of unit length with the cosine, or for `contrastive` the Euclidean distance, as the library has
    them. `batch_hard` (Hermans et al. 2017) is `softplus(d(a, farthest positive) - d(a, nearest negative))` with the
    Euclidean distance of features as they are. `nca` (Goldberger et al. 2005) is `-log` of the share of positives in
    the softmax of minus the squared distances of features as they are.

    Args:
        kind: which.
        pairs: `pooled` compares all items of a task with all others, `cross` its queries with its support.
        mining: for `multi_similarity`: leaves out pairs that are easy by more than this, in cosine; negatives less alike than
            the least alike positive, positives more alike than the most alike negative. null for all pairs; 0.1 is the paper's.
        options: of the library's loss, such as `alpha`, `beta` and `base` of `multi_similarity`.

    Raises:
        FewshotError: unknown kind, pairs or option, or tasks without a pair of one class.
    """

    counts_pairs = True

    def __init__(
        self, kind: str = "multi_similarity", pairs: str = "pooled", mining: float | None = None, **options: float
    ):
        super().__init__()
        if kind not in KINDS:
            raise FewshotError(f"loss.kind={kind}; expected one of {', '.join(KINDS)}")
        if pairs not in PAIRS:
            raise FewshotError(f"loss.pairs={pairs}; expected one of {', '.join(PAIRS)}")
        if mining is not None and (kind != "multi_similarity" or mining < 0):
            raise FewshotError(f"loss.mining={mining} of {kind}; expected at least 0, and kind=multi_similarity")
        self.kind, self.pairs, self.mining = kind, pairs, mining
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
        """Features of a batch of tasks to a scalar, the mean over tasks of even size; the logits are not used.

        Uneven tasks count by their anchors or pairs.
        """
        if self.pairs == "cross":
            anchors, others = episodes.query, episodes.support
            same = episodes.query_labels[:, :, None] == episodes.support_labels[:, None]
            itself = torch.zeros_like(same)
        else:
            anchors = others = torch.cat([episodes.support, episodes.query], dim=1)
            labels = torch.cat([episodes.support_labels, episodes.query_labels], dim=1)
            same = labels[:, :, None] == labels[:, None]
            itself = torch.eye(labels.shape[1], dtype=torch.bool, device=labels.device)
        positive = same & ~itself
        if not bool(positive.any((1, 2)).all()):
            raise FewshotError(
                f"loss.kind={self.kind} needs two items of a class in each task; use more shots or queries"
            )
        if self.kind == "nca":
            value = _nca(anchors, others, positive, itself)
        else:
            value = self._library(anchors, others, positive, ~same)
        return LossValue(value, {self.kind: value.detach()})

    def _library(self, anchors: Tensor, others: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        if self.mining is not None:
            positive, negative = _mined(anchors, others, positive, negative, self.mining)
        # All tasks in one batch: which pairs count is told by their indices.
        tasks, count, width = positive.shape
        start, other_start = (torch.arange(tasks, device=anchors.device) * size for size in (count, width))
        if self.kind == "batch_hard":
            distance = squared_euclidean(anchors.detach(), others.detach())
            far = distance.masked_fill(~positive, -1).argmax(-1)
            near = distance.masked_fill(~negative, torch.inf).argmin(-1)
            anchor = torch.arange(count, device=anchors.device).expand(tasks, -1)
            both = positive.any(-1) & negative.any(-1)
            indices = (
                (anchor + start[:, None])[both],
                (far + other_start[:, None])[both],
                (near + other_start[:, None])[both],
            )
        else:
            indices = ()
            for pairs in (positive, negative):
                task, anchor, other = pairs.nonzero(as_tuple=True)
                indices += (start[task] + anchor, other_start[task] + other)
        labels = torch.zeros(tasks * max(count, width), dtype=torch.int64, device=anchors.device)
        references = {}
        if others is not anchors:
            references = {"ref_emb": others.flatten(0, 1), "ref_labels": labels[: tasks * width]}
        return self.loss(anchors.flatten(0, 1), labels[: tasks * count], indices, **references)


def _mined(
    anchors: Tensor, others: Tensor, positive: Tensor, negative: Tensor, epsilon: float
) -> tuple[Tensor, Tensor]:
    """The pairs that are not easy, as Wang et al. (2019), equations 8 and 9, choose them."""
    alike = cosine_similarity(anchors.detach(), others.detach())
    least = alike.masked_fill(~positive, torch.inf).amin(-1, keepdim=True)
    most = alike.masked_fill(~negative, -torch.inf).amax(-1, keepdim=True)
    return positive & (alike - epsilon < most), negative & (alike + epsilon > least)


def _nca(anchors: Tensor, others: Tensor, positive: Tensor, itself: Tensor) -> Tensor:
    share = (-squared_euclidean(anchors, others)).masked_fill(itself, -torch.inf).log_softmax(-1)
    has = positive.any(-1)
    return -share.masked_fill(~positive, -torch.inf).logsumexp(-1)[has].mean()
