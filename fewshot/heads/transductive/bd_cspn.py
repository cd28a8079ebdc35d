"""BD-CSPN: the nearest rectified prototype (Liu et al., 2020)."""

from jaxtyping import Float
from torch import Tensor, nn

from fewshot.distances.euclidean import squared_euclidean
from fewshot.episodes.episodes import Episodes
from fewshot.errors import FewshotError
from fewshot.heads.transductive.rectification import NORMS, rectified_prototypes, shifted


class BDCSPNHead(nn.Module):
    """Squared Euclidean distance to rectified prototypes, after the queries' mean is moved onto that of the support.

    Args:
        sharpness: of the softmax over cosines, more than 0.
        norm: `weights` for weighted means, `count` as public code has it.

    Raises:
        FewshotError: a sharpness that is not positive, or an unknown norm.

    Source: Liu et al., Prototype Rectification for Few-Shot Learning, 2020. All queries take part, as in public
    re-implementations; the paper may take the most confident ones only.
    """

    transductive = True

    def __init__(self, sharpness: float = 10.0, norm: str = "weights"):
        super().__init__()
        if not sharpness > 0:
            raise FewshotError(f"head.sharpness={sharpness}; expected more than 0")
        if norm not in NORMS:
            raise FewshotError(f"head.norm={norm}; expected one of {', '.join(NORMS)}")
        self.sharpness, self.norm = sharpness, norm

    def forward(self, episodes: Episodes) -> Float[Tensor, "b q n"]:
        """Features of a batch of tasks to logits `[B, Q, N]`."""
        episodes = shifted(episodes)
        return -squared_euclidean(episodes.query, rectified_prototypes(episodes, self.sharpness, self.norm))
