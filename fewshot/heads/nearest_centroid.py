"""SimpleShot: the nearest centroid of transformed features (Wang et al., 2019)."""

from jaxtyping import Float
from torch import Tensor, nn

from fewshot.distances.euclidean import squared_euclidean
from fewshot.episodes.episodes import Episodes
from fewshot.episodes.prototypes import prototypes
from fewshot.errors import FewshotError
from fewshot.heads.feature_transform import FeatureTransform

SIMPLESHOT = ("un", "l2n", "cl2n")


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
        if transform not in SIMPLESHOT:
            raise FewshotError(f"head.transform={transform}; expected one of {', '.join(SIMPLESHOT)}")
        self.transform = FeatureTransform(transform, feature_size)

    def forward(self, episodes: Episodes) -> Float[Tensor, "b q n"]:
        """Features of a batch of tasks to logits `[B, Q, N]`."""
        centres = prototypes(self.transform(episodes.support), episodes.support_labels, episodes.way)
        return -squared_euclidean(self.transform(episodes.query), centres)
