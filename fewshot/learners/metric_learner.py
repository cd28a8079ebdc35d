"""`MetricLearner`: a backbone, a head and a loss."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn

from fewshot.episodes.episodes import Episodes
from fewshot.learners.learner import Learner, TrainingLoss


class MetricLearner(Learner):
    """Embeds all images of a batch of tasks with one backbone and compares features in a head.

    In training the support and query images of all tasks of a step go through the backbone in one
    forward pass, so BatchNorm sees them together, as in the authors' code of Snell et al. (2017).

    Args:
        backbone: images `[n, c, h, w]` to features `[n, d]`.
        head: episodes of features to logits `[B, Q, N]`; `head.transductive` says whether queries are used jointly.
        loss: episodes of features and logits to a `LossValue`.
        task_augmentation: optional, episodes of features to episodes of features, in training only.
    """

    def __init__(
        self,
        backbone: nn.Module,
        head: nn.Module,
        loss: nn.Module,
        task_augmentation: Callable[[Episodes], Episodes] | None = None,
    ):
        super().__init__()
        self.backbone, self.head, self.loss = backbone, head, loss
        self.task_augmentation = task_augmentation

    @property
    def transductive(self) -> bool:
        return bool(getattr(self.head, "transductive", False))

    @property
    def scores_frozen_features(self) -> bool:
        return True

    def training_loss(self, episodes: Episodes) -> TrainingLoss:
        features = episodes.map(self.backbone)
        if self.task_augmentation is not None:
            features = self.task_augmentation(features)
        logits = self.head(features)
        loss = self.loss(features, logits)
        accuracy = (logits.detach().argmax(-1) == features.query_labels).float().mean()
        return TrainingLoss(loss.total, loss.parts, accuracy)

    def predict(self, episodes: Episodes) -> Float[Tensor, "b q n"]:
        return self.predict_features(episodes.map(self.embed))

    def embed(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        return self.backbone(images)

    def predict_features(self, episodes: Episodes) -> Float[Tensor, "b q n"]:
        return self.head(episodes)
