"""A bilinear map between features and attributes, in closed form (Romera-Paredes and Torr, 2015)."""

from typing import ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import one_hot

from fewshot.device import wide
from fewshot.episodes.episodes import Episodes
from fewshot.heads.attribute_scaling import scaled_attributes
from fewshot.heads.fitted_to_base import FittedToBase

_PENALTIES = tuple(10.0**power for power in range(-3, 4))


class ESZSLHead(FittedToBase):
    """Scores `x W a_c`, with W fitted to all images and attributes of the base classes at once.

    `W = (X^T X + g I)^-1 X^T Y A (A^T A + l I)^-1`: X holds the base features, A the base classes' attributes, Y says which
    image is of which class. The support plays no part.

    Args:
        feature_size: of the backbone.
        attribute_size: how many numbers are known of each class.
        feature_penalty: g, more than 0.
        attribute_penalty: l, more than 0.
        signed: Y is 1 and -1 as in the paper; otherwise 1 and 0. With -1 for all classes but one, W is drawn to the mean feature
            and the mean attributes; where those are far from 0, as behind a ReLU, 1 and 0 do far better.
        scaling: of attributes: `raw`, `percent`, `unit` or `binary`.

    Raises:
        FewshotError: nothing is known of classes, a penalty that is not positive, or scores before there are base classes.

    Source: Romera-Paredes and Torr, An Embarrassingly Simple Approach to Zero-Shot Learning, 2015, section 3.
    """

    # Powers of ten, of which validation classes choose: what is right depends on the size of features and attributes.
    tuned: ClassVar = {"feature_penalty": _PENALTIES, "attribute_penalty": _PENALTIES}

    def __init__(
        self,
        feature_size: int | None = None,
        attribute_size: int | None = None,
        feature_penalty: float = 1.0,
        attribute_penalty: float = 1.0,
        signed: bool = False,
        scaling: str = "unit",
    ):
        penalties = {"feature_penalty": feature_penalty, "attribute_penalty": attribute_penalty}
        super().__init__("eszsl", feature_size, attribute_size, scaling, penalties)
        self.penalties, self.signed = tuple(penalties.values()), signed

    @torch.no_grad()
    def fit_base(
        self, features: Float[Tensor, "n d"], labels: Int64[Tensor, " n"], attributes: Float[Tensor, "s a"]
    ) -> None:
        """W of all images of the base classes and of their attributes."""
        x, a = wide(features), wide(scaled_attributes(attributes, self.scaling))
        y = one_hot(labels, len(a)).to(x.dtype)
        if self.signed:
            y = 2 * y - 1
        of_features, of_attributes = (m.T @ m + p * _eye(m) for m, p in zip((x, a), self.penalties, strict=True))
        left = torch.linalg.solve(of_features, x.T @ y @ a)
        self.weight.copy_(torch.linalg.solve(of_attributes, left, left=False))

    def forward(self, episodes: Episodes) -> Float[Tensor, "b q n"]:
        """Features of a batch of tasks to scores `[B, Q, N]`."""
        self.check_fitted()
        known = scaled_attributes(episodes.attributes.to(self.weight.dtype), self.scaling)
        return episodes.query @ self.weight @ known.transpose(1, 2)


def _eye(matrix: Tensor) -> Float[Tensor, "k k"]:
    return torch.eye(matrix.shape[1], dtype=matrix.dtype, device=matrix.device)
