"""Attributes guessed from features, and the class whose attributes are nearest."""

from typing import ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from fewshot.device import wide
from fewshot.distances.cosine import cosine_similarity
from fewshot.episodes.episodes import Episodes
from fewshot.heads.attribute_scaling import scaled_attributes
from fewshot.heads.fitted_to_base import FittedToBase


class AttributeRegressionHead(FittedToBase):
    """Scores are the cosine of a class's attributes and those that a ridge regression guesses from the features.

    The regression is fitted to all images of the base classes: each has the attributes of its class as targets. It has a
    bias, which is not penalised. The support plays no part. As direct attribute prediction it goes from features to attributes
    to classes, by regression in place of a classifier for each attribute.

    Args:
        feature_size: of the backbone.
        attribute_size: how many numbers are known of each class.
        penalty: of the regression, more than 0.
        centre: measure the cosine from the mean attributes of the base classes; attributes that all classes share count for
            nothing then.
        scaling: of attributes: `raw`, `percent`, `unit` or `binary`.

    Raises:
        FewshotError: nothing is known of classes, a penalty that is not positive, or scores before there are base classes.

    Source: the idea is that of Lampert et al., Attribute-Based Classification for Zero-Shot Visual Object Categorization,
    2014 (direct attribute prediction).
    """

    tuned: ClassVar = {"penalty": tuple(10.0**power for power in range(-3, 4))}

    def __init__(
        self,
        feature_size: int | None = None,
        attribute_size: int | None = None,
        penalty: float = 1.0,
        centre: bool = True,
        scaling: str = "unit",
    ):
        super().__init__("attribute_regression", feature_size, attribute_size, scaling, {"penalty": penalty})
        self.penalty, self.centre = penalty, centre
        self.register_buffer("bias", torch.full((attribute_size,), torch.nan))
        self.register_buffer("attribute_mean", torch.full((attribute_size,), torch.nan))

    @torch.no_grad()
    def fit_base(
        self, features: Float[Tensor, "n d"], labels: Int64[Tensor, " n"], attributes: Float[Tensor, "s a"]
    ) -> None:
        """The regression of all images of the base classes."""
        x, known = wide(features), wide(scaled_attributes(attributes, self.scaling))
        targets = known[labels]
        # With both centred the bias drops out of the system.
        x_mean, target_mean = x.mean(0), targets.mean(0)
        x, targets = x - x_mean, targets - target_mean
        system = x.T @ x + self.penalty * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
        weight = torch.linalg.solve(system, x.T @ targets)
        self.weight.copy_(weight)
        self.bias.copy_(target_mean - x_mean @ weight)
        self.attribute_mean.copy_(known.mean(0))

    def guessed(self, features: Float[Tensor, "*b d"]) -> Float[Tensor, "*b a"]:
        """The attributes that features look like."""
        return features @ self.weight + self.bias

    def forward(self, episodes: Episodes) -> Float[Tensor, "b q n"]:
        """Features of a batch of tasks to scores `[B, Q, N]`."""
        self.check_fitted()
        guessed = self.guessed(episodes.query)
        known = scaled_attributes(episodes.attributes.to(guessed.dtype), self.scaling)
        if self.centre:
            guessed, known = guessed - self.attribute_mean, known - self.attribute_mean
        return cosine_similarity(guessed, known)
