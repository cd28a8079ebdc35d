"""A learned Mahalanobis distance."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fewshot.distances.euclidean import squared_euclidean
from fewshot.errors import FewshotError


class Mahalanobis(nn.Module):
    """`(x - y)^T M (x - y)` for all pairs, with a positive semidefinite M that is trained.

    `M = diag(exp(w)) + A^T A`: a weight for each feature, and a map to `rank` dimensions. It starts as the squared
    Euclidean distance, up to a small random A.

    Args:
        feature_size: d.
        rank: rows of A; 0 for the diagonal alone.

    Raises:
        FewshotError: a negative rank.
    """

    def __init__(self, feature_size: int, rank: int = 0):
        super().__init__()
        if rank < 0:
            raise FewshotError(f"head.rank={rank}; expected at least 0")
        self.log_weights = nn.Parameter(torch.zeros(feature_size))
        # Not zero: the gradient of A^T A vanishes there.
        self.map = nn.Parameter(0.01 * torch.randn(rank, feature_size) / feature_size**0.5) if rank else None

    def forward(self, x: Float[Tensor, "*b q d"], y: Float[Tensor, "*b n d"]) -> Float[Tensor, "*b q n"]:
        """Squared distances of all pairs."""
        root = (self.log_weights / 2).exp()
        distance = squared_euclidean(x * root, y * root)
        return distance if self.map is None else distance + squared_euclidean(x @ self.map.T, y @ self.map.T)
