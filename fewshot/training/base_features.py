"""What a learner of frozen features hears of the base classes."""

from fewshot.data.bank import Bank
from fewshot.evaluation.embedding import embed_bank
from fewshot.learners.learner import Learner


def tell_base_features(learner: Learner, bank: Bank) -> None:
    """Let a learner of frozen features hear of those of all training images, or of the bank of features that is given.

    All processes call this together.
    """
    if learner.scores_frozen_features:
        features = embed_bank(learner, bank, shared=True) if bank.is_images else bank
        learner.set_base_features(features.items)
        learner.set_base_classes(features)
