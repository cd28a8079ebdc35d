"""`MetricLearner`: a backbone, a head and a loss."""

import torch
from torch import nn

from fewshot.episodes.episodes import Episodes
from fewshot.learners.feature_learner import FeatureLearner
from fewshot.learners.learner import TrainingLoss
from fewshot.losses.loss_value import as_loss_value
from fewshot.task_augmentation.augmentation import TaskAugmentation, fresh_rng


class MetricLearner(FeatureLearner):
    """Embeds all images of a batch of tasks with one backbone and compares features in a head.

    In training the support and query images of all tasks of a step go through the backbone in one
    forward pass, so BatchNorm sees them together, as in the authors' code of Snell et al. (2017).

    Args:
        backbone: images `[n, c, h, w]` to features `[n, d]`.
        head: episodes of features to logits `[B, Q, N]`; `head.transductive` says whether queries are used jointly.
        loss: episodes of features and logits to a scalar, or to a `LossValue`.
        task_augmentation: optional, makes other tasks of those of a step, in training only.

    Raises:
        FewshotError: a task augmentation that needs another backbone.
    """

    def __init__(
        self,
        backbone: nn.Module,
        head: nn.Module,
        loss: nn.Module,
        task_augmentation: TaskAugmentation | None = None,
    ):
        super().__init__(backbone, head)
        self.loss, self.task_augmentation = loss, task_augmentation
        if task_augmentation is not None:
            task_augmentation.check(backbone)

    def training_loss(self, episodes: Episodes) -> TrainingLoss:
        if self.task_augmentation is None:
            return self.loss_of_features(episodes.map(self.embed))
        return self.task_augmentation(episodes, self.backbone, fresh_rng()).loss(self.loss_of_features)

    def loss_of_features(self, features: Episodes) -> TrainingLoss:
        # Distances are differences of large numbers, and solvers need all digits: 16 bits are for the backbone.
        with torch.autocast(features.device.type, enabled=False):
            features = features.with_items(_at_least_single(features.support), _at_least_single(features.query))
            logits = self.head(features)
            total, parts = as_loss_value(self.loss(features, logits), self.loss)
            # What a head asks of training beside the loss, such as a regulariser of its own.
            extra = self.head.training_terms(features) if hasattr(self.head, "training_terms") else {}
        total = total + sum(extra.values())
        parts = parts | {name: term.detach() for name, term in extra.items()}
        accuracy = (logits.detach().argmax(-1) == features.query_labels).float().mean()
        return TrainingLoss(total, parts, accuracy)


def _at_least_single(items: torch.Tensor) -> torch.Tensor:
    return items.float() if items.dtype in (torch.float16, torch.bfloat16) else items
