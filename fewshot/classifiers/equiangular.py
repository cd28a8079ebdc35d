"""A classifier of fixed vectors at equal angles (equiangular basis vectors, Shen et al., 2023)."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import normalize

from fewshot.errors import FewshotError


def equiangular_vectors(
    count: int, size: int, threshold: float | None = None, seed: int = 0, steps: int = 20_000
) -> Float[Tensor, "{count} {size}"]:
    """`count` unit vectors of which no two have a cosine above `threshold` in absolute value.

    Up to `size` vectors are orthonormal. More are moved apart by gradient descent from random directions.

    Args:
        count: how many.
        size: of each.
        threshold: None for half more than Welch's bound, `sqrt((count - size) / (size (count - 1)))`, below which there is none.
        seed: of the start.
        steps: of descent, at the most.

    Raises:
        FewshotError: the threshold was not reached.

    Source: Shen et al., Equiangular Basis Vectors, 2023, section 3.1.
    """
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(max(count, size), size, generator=generator, dtype=torch.float64)
    if count <= size:
        return torch.linalg.qr(start).Q[:, :count].T.float().contiguous()
    bound = math.sqrt((count - size) / (size * (count - 1)))
    threshold = 1.5 * bound if threshold is None else threshold
    vectors = normalize(start[:count].float(), dim=1).requires_grad_()
    optimizer = torch.optim.Adam([vectors], lr=1e-2)
    own = torch.eye(count)
    least, stale = math.inf, 0
    for _ in range(steps):
        unit = normalize(vectors, dim=1)
        excess = ((unit @ unit.T).abs() - own - threshold).relu()
        largest = float(excess.detach().max())
        if largest <= 1e-4:
            return unit.detach()
        least, stale = (largest, 0) if largest < 0.999 * least else (least, stale + 1)
        if stale == 300:
            break
        optimizer.zero_grad()
        excess.square().sum().backward()
        optimizer.step()
    raise FewshotError(
        f"{count} vectors of size {size} with cosines below {threshold:.3f} were not found, the closest try had "
        f"{threshold + least:.3f}; none are below {bound:.3f}. Set classifier.threshold to more than {threshold + least:.3f}"
    )


class EquiangularClassifier(nn.Module):
    """`cos(x, b_c) / temperature` with fixed vectors `b_c`, one for each base class.

    Args:
        feature_size: of the backbone.
        classes: how many base classes.
        temperature: divides the cosine, more than 0.
        threshold: largest cosine of two vectors; null for half more than the least there is.
        seed: of the vectors.

    Raises:
        FewshotError: a temperature that is not positive, or a threshold out of reach.

    Source: Shen et al., Equiangular Basis Vectors, 2023.
    """

    def __init__(
        self,
        feature_size: int,
        classes: int,
        temperature: float = 0.07,
        threshold: float | None = None,
        seed: int = 0,
    ):
        super().__init__()
        if not temperature > 0:
            raise FewshotError(f"classifier.temperature={temperature}; expected more than 0")
        self.temperature = temperature
        self.register_buffer("vectors", equiangular_vectors(classes, feature_size, threshold, seed))

    def forward(self, features: Float[Tensor, "n d"]) -> Float[Tensor, "n c"]:
        """Features to logits."""
        return normalize(features, dim=-1) @ self.vectors.T / self.temperature
