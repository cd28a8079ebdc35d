"""A linear classifier."""

from jaxtyping import Float
from torch import Tensor, nn


class LinearClassifier(nn.Linear):
    """`x W + b`, one column for each base class.

    Args:
        feature_size: of the backbone.
        classes: how many base classes.

    Source: the Baseline of Chen et al., A Closer Look at Few-shot Classification, 2019.
    """

    def __init__(self, feature_size: int, classes: int):
        super().__init__(feature_size, classes)

    def forward(self, features: Float[Tensor, "n d"]) -> Float[Tensor, "n c"]:
        """Features to logits."""
        return super().forward(features)
