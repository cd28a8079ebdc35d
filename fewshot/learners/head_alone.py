"""`HeadAlone`: a head that scores features which were made elsewhere."""

from torch import nn

from fewshot.data.bank import Bank
from fewshot.episodes.episodes import Episodes
from fewshot.errors import FewshotError
from fewshot.heads.feature_transform import bare
from fewshot.learners.feature_learner import FeatureLearner
from fewshot.learners.learner import TrainingLoss


class HeadAlone(FeatureLearner):
    """A learner of banks of features: a head without a backbone, in the mode that the head is in.

    Args:
        head: episodes of features to logits `[B, Q, N]`.
        feature_size: numbers of an item.
    """

    def __init__(self, head: nn.Module, feature_size: int):
        backbone = nn.Identity()
        backbone.feature_size = feature_size
        super().__init__(backbone, head)
        self.training = head.training

    @classmethod
    def scoring(cls, head: object, bank: Bank, base: Bank | None = None) -> "HeadAlone":
        """One for the features of `bank`; the head is moved to their device and hears of those of the base classes.

        Raises:
            FewshotError: it is no module, a bank is of images or of other features, or the head needs the base classes.
        """
        if not isinstance(head, nn.Module):
            raise FewshotError(
                f"a {type(head).__name__} scores no tasks; expected a learner, or a head on a bank of features"
            )
        name = type(bare(head)).__name__
        for part in (bank, base):
            if part is not None and part.is_images:
                raise FewshotError(
                    f"{name} is no learner, and {part.name}/{part.split} has images; give a learner, or features of them"
                )
        size = bank.items.shape[1]
        learner = cls(head, size).to(bank.device)
        if base is None:
            unknown = [part for part in head.modules() if hasattr(part, "base_mean") and part.base_mean.isnan().any()]
            if unknown or learner.needs_base_classes:
                raise FewshotError(f"{name} needs the base classes; give base=, a bank of their features")
            return learner
        if base.items.shape[1] != size:
            raise FewshotError(f"base has {base.items.shape[1]} features, {bank.name}/{bank.split} {size}")
        if not base.items.isfinite().all():
            raise FewshotError("base has features that are infinite or no numbers; leave such items out")
        base = base.to(bank.device)
        learner.set_base_features(base.items)
        # Again, where the head was fitted to others before.
        learner.set_base_classes(base)
        return learner

    def training_loss(self, episodes: Episodes) -> TrainingLoss:
        raise FewshotError("a head alone is not trained; make a MetricLearner of a backbone, the head and a loss")
