"""SimpleShot: the nearest centroid of transformed features (Wang et al., 2019)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import normalize

from fewshot.distances.euclidean import squared_euclidean
from fewshot.episodes.episodes import Episodes
from fewshot.episodes.prototypes import prototypes
from fewshot.errors import FewshotError

TRANSFORMS = ("un", "l2n", "cl2n")


class NearestCentroidHead(nn.Module):
    """Logits are minus the squared distance to the mean of each class's transformed support features.

    Args:
        transform: `un` leaves features as they are, `l2n` scales them to unit length, `cl2n` subtracts the mean of
            the base classes' features first. Centroids are means of transformed features, not scaled again.
        feature_size: of the backbone.

    Raises:
        FewshotError: unknown transform, or `cl2n` before the base mean is known.

    Source: Wang et al., SimpleShot: Revisiting Nearest-Neighbor Classification for Few-Shot Learning, 2019, section 3.2.
    """

    transductive = False

    def __init__(self, transform: str = "cl2n", feature_size: int | None = None):
        super().__init__()
        if transform not in TRANSFORMS:
            raise FewshotError(f"head.transform={transform}; expected one of {', '.join(TRANSFORMS)}")
        self.transform = transform
        if transform == "cl2n":
            if feature_size is None:
                raise FewshotError("head.transform=cl2n needs a backbone of known size")
            # The learner knows it, keeps it with its weights and tells it here.
            self.register_buffer("base_mean", torch.full((feature_size,), torch.nan), persistent=False)

    def transformed(self, features: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
        """The features as distances see them."""
        if self.transform == "cl2n":
            if self.base_mean.isnan().any():
                raise FewshotError("head.transform=cl2n has no mean of base features; train with this head, or use l2n")
            features = features - self.base_mean
        return features if self.transform == "un" else normalize(features, dim=-1)

    def forward(self, episodes: Episodes) -> Float[Tensor, "b q n"]:
        """Features of a batch of tasks to logits `[B, Q, N]`."""
        centres = prototypes(self.transformed(episodes.support), episodes.support_labels, episodes.way)
        return -squared_euclidean(self.transformed(episodes.query), centres)
