"""`FeatureLearner`: a backbone whose features are the same in every task, and a head on them."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fewshot.data.bank import Bank
from fewshot.episodes.episodes import Episodes
from fewshot.errors import FewshotError
from fewshot.heads.feature_transform import bare
from fewshot.learners.learner import Learner


def takes_features_as_they_are(learner: nn.Module) -> bool:
    """Whether a learner's features are those of its backbone, as its `feature_size` says, and no `embed` of its own changes them."""
    return isinstance(learner, FeatureLearner) and type(learner).embed is FeatureLearner.embed


class FeatureLearner(Learner):
    """What learners of frozen features share; a subclass says how they are trained.

    The mean feature of the training images, `base_mean`, lies with the weights: NaN until training has ended. A part of the
    head with a buffer `base_mean` of its own is told.

    Args:
        backbone: images `[n, c, h, w]` to features `[n, d]`; `backbone.feature_size` is d.
        head: episodes of features to logits `[B, Q, N]`; `head.transductive` says whether queries are used jointly.

    Raises:
        FewshotError: the backbone does not say how many features it makes.
    """

    def __init__(self, backbone: nn.Module, head: nn.Module):
        super().__init__()
        if not hasattr(backbone, "feature_size"):
            raise FewshotError(
                f"backbone: {type(backbone).__name__} has no feature_size; give it the size of its features"
            )
        self.backbone, self.head = backbone, head
        self.register_buffer("base_mean", torch.full((backbone.feature_size,), torch.nan))
        self.register_load_state_dict_post_hook(lambda learner, _: learner._tell_head())

    @property
    def transductive(self) -> bool:
        return bool(getattr(self.head, "transductive", False))

    @property
    def needs_support(self) -> bool:
        return bool(getattr(self.head, "needs_support", True))

    @property
    def scores_frozen_features(self) -> bool:
        return True

    @property
    def needs_base_mean(self) -> bool:
        return any(hasattr(part, "base_mean") for part in self.head.modules())

    def set_base_features(self, features: Float[Tensor, "n d"]) -> None:
        self.base_mean.copy_(features.mean(0))
        self._tell_head()

    @property
    def fits_base_classes(self) -> bool:
        return bool(getattr(self.head, "fits_base", False))

    @property
    def needs_base_classes(self) -> bool:
        return self.fits_base_classes and not self.head.is_fitted

    def set_base_classes(self, bank: Bank) -> None:
        if not self.fits_base_classes:
            return
        if bank.class_attributes is None:
            name = type(bare(self.head)).__name__
            raise FewshotError(
                f"{name} is fitted to attributes of the base classes, and {bank.name}/{bank.split} has none"
            )
        self.head.fit_base(bank.items, bank.labels, bank.class_attributes)

    def predict(self, episodes: Episodes) -> Float[Tensor, "b q n"]:
        return self.predict_features(episodes.map(self.embed))

    def embed(self, images: Float[Tensor, "n ..."]) -> Float[Tensor, "n d"]:
        # The items of an embedded bank are features already.
        return images if images.dim() == 2 else self.backbone(images)

    def embed_mixed(
        self, pairs: Float[Tensor, "n 2 c h w"], level: int, share: Float[Tensor, ""]
    ) -> Float[Tensor, "n d"]:
        """Features of `share` of the first image's map at a level of the backbone and the rest of the second's."""
        own, other = (self.backbone.forward_to(level, images) for images in pairs.unbind(1))
        return self.backbone.forward_from(level, share * own + (1 - share) * other)

    def predict_features(self, episodes: Episodes) -> Float[Tensor, "b q n"]:
        return self.head(episodes)

    def use_head(self, head: nn.Module) -> None:
        """Score with another head from now on."""
        self.head = head.to(self.base_mean.device).train(self.training)
        self._tell_head()

    def _tell_head(self) -> None:
        for part in self.head.modules():
            if hasattr(part, "base_mean"):
                part.base_mean.copy_(self.base_mean)
