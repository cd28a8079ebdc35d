"""`MetricLearner`: a backbone, a head and a loss."""

from collections.abc import Callable

import torch
from torch import nn

from fewshot.episodes.episodes import Episodes
from fewshot.learners.feature_learner import FeatureLearner
from fewshot.learners.learner import TrainingLoss


class MetricLearner(FeatureLearner):
    """Embeds all images of a batch of tasks with one backbone and compares features in a head.

    In training the support and query images of all tasks of a step go through the backbone in one
    forward pass, so BatchNorm sees them together, as in the authors' code of Snell et al. (2017).

    Args:
        backbone: images `[n, c, h, w]` to features `[n, d]`.
        head: episodes of features to logits `[B, Q, N]`; `head.transductive` says whether queries are used jointly.
        loss: episodes of features and logits to a `LossValue`.
        task_augmentation: optional, episodes of features to episodes of features, in training only.
        freeze_backbone: leave the backbone as it is and train the rest on its features, which are computed once.
    """

    def __init__(
        self,
        backbone: nn.Module,
        head: nn.Module,
        loss: nn.Module,
        task_augmentation: Callable[[Episodes], Episodes] | None = None,
        freeze_backbone: bool = False,
    ):
        super().__init__(backbone, head)
        self.loss, self.task_augmentation = loss, task_augmentation
        self.trains_on_features = freeze_backbone
        if freeze_backbone:
            backbone.requires_grad_(False)

    def train(self, mode: bool = True) -> "MetricLearner":
        super().train(mode)
        if self.trains_on_features:
            # Its BatchNorm would go on counting.
            self.backbone.eval()
        return self

    def training_loss(self, episodes: Episodes) -> TrainingLoss:
        features = episodes if self.trains_on_features else episodes.map(self.backbone)
        if self.task_augmentation is not None:
            features = self.task_augmentation(features)
        return self.loss_of_features(features)

    def loss_of_features(self, features: Episodes) -> TrainingLoss:
        # Distances are differences of large numbers, and solvers need all digits: 16 bits are for the backbone.
        with torch.autocast(features.device.type, enabled=False):
            features = features.with_items(_at_least_single(features.support), _at_least_single(features.query))
            logits = self.head(features)
            total, parts = self.loss(features, logits)
            # What a head asks of training beside the loss, such as a regulariser of its own.
            extra = self.head.training_terms(features) if hasattr(self.head, "training_terms") else {}
        total = total + sum(extra.values())
        parts = parts | {name: term.detach() for name, term in extra.items()}
        accuracy = (logits.detach().argmax(-1) == features.query_labels).float().mean()
        return TrainingLoss(total, parts, accuracy)


def _at_least_single(items: torch.Tensor) -> torch.Tensor:
    return items.float() if items.dtype in (torch.float16, torch.bfloat16) else items
