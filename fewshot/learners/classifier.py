"""`ClassifierLearner`: a backbone trained to classify the base classes, scored by a head."""

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from fewshot.episodes.episodes import Episodes
from fewshot.errors import FewshotError
from fewshot.learners.feature_learner import FeatureLearner
from fewshot.learners.learner import TrainingLoss


class ClassifierLearner(FeatureLearner):
    """Trains backbone and classifier on all base classes at once; new tasks are scored by a head on frozen features.

    With a head of nearest centroids this is SimpleShot, with one of cosine prototypes Classifier-Baseline, with a head
    that is fine-tuned the Baseline of Chen et al. (2019), and Baseline++ where that head and the classifier are cosine ones.

    Args:
        backbone: images `[n, c, h, w]` to features `[n, d]`.
        head: episodes of features to logits `[B, Q, N]`.
        classifier: features `[n, d]` to logits of the base classes `[n, c]`.
        label_smoothing: share of the target spread evenly over the classes, 0 to 1.
        rotation: weight of a second task, to tell by how many quarters an image was turned; 0 for none. Each batch
            is then shown in all four rotations (Gidaris et al., Boosting Few-Shot Visual Learning with
            Self-Supervision, 2019).

    Raises:
        FewshotError: a share outside 0 to 1, or a negative weight.
    """

    trains_on_images = True

    def __init__(
        self,
        backbone: nn.Module,
        head: nn.Module,
        classifier: nn.Module,
        label_smoothing: float = 0.0,
        rotation: float = 0.0,
    ):
        super().__init__(backbone, head)
        if not 0 <= label_smoothing <= 1:
            raise FewshotError(f"learner.label_smoothing={label_smoothing}; expected 0 to 1")
        if rotation < 0:
            raise FewshotError(f"learner.rotation={rotation}; expected at least 0")
        self.classifier = classifier
        self.label_smoothing, self.rotation = label_smoothing, rotation
        self.turned = nn.Linear(backbone.feature_size, 4) if rotation else None

    def training_loss(self, episodes: Episodes) -> TrainingLoss:
        """Loss of a batch of an `ImageSampler`: queries are images, labels those of the base classes."""
        images, labels = episodes.query.flatten(0, 1), episodes.query_labels.flatten()
        if self.turned is not None:
            images = torch.cat([images.rot90(quarters, (2, 3)) for quarters in range(4)])
        features = self.backbone(images)
        logits = self.classifier(features[: len(labels)])
        total = cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
        parts = {"cross_entropy": total.detach()}
        if self.turned is not None:
            quarters = torch.arange(4, device=labels.device).repeat_interleave(len(labels))
            turned = cross_entropy(self.turned(features), quarters)
            total, parts["rotation"] = total + self.rotation * turned, turned.detach()
        return TrainingLoss(total, parts, (logits.detach().argmax(-1) == labels).float().mean())
