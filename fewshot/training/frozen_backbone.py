"""Training on the features of a backbone that stays as it is."""

from collections.abc import Mapping

from fewshot.data.bank import Bank
from fewshot.errors import FewshotError
from fewshot.evaluation.embedding import embed_bank
from fewshot.learners.learner import Learner


def freeze_backbone(learner: Learner) -> None:
    """Take the backbone out of what is trained.

    Raises:
        FewshotError: the learner makes other features in each task.
    """
    if not learner.scores_frozen_features or not hasattr(learner, "backbone"):
        raise FewshotError(
            f"training.frozen_backbone=true: {type(learner).__name__} makes features of its own for each task; use "
            f"learner=metric, or a learner that adapts its head alone"
        )
    learner.backbone.requires_grad_(False)


def features_of(learner: Learner, banks: Mapping[str, Bank]) -> dict[str, Bank]:
    """Banks of the features of a frozen backbone: each image is embedded once, and not again in each episode.

    BatchNorm is as in tests.
    """
    mode = learner.training
    learner.eval()
    try:
        return {name: embed_bank(learner, bank) for name, bank in banks.items()}
    finally:
        learner.train(mode)
