"""`FittedToBase`: what heads share that are fitted in closed form to the attributes of the base classes."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from fewshot.errors import FewshotError
from fewshot.heads.attribute_scaling import check_scaling, check_sizes


class FittedToBase(nn.Module, ABC):
    """A map `weight` `[d, a]` between features and attributes, which `fit_base` makes; the support plays no part.

    Args:
        name: of the head, for messages.
        feature_size: d, of the backbone.
        attribute_size: a, how many numbers are known of each class.
        scaling: of attributes: `raw`, `percent`, `unit` or `binary`.
        penalties: of the fit, by name, more than 0.

    Raises:
        FewshotError: nothing is known of classes, or a penalty that is not positive.
    """

    transductive = False
    reads_attributes = True
    needs_support = False
    trains_backbone = False
    fits_base = True

    def __init__(
        self, name: str, feature_size: int | None, attribute_size: int | None, scaling: str, penalties: dict[str, float]
    ):
        super().__init__()
        feature_size, self.attribute_size = check_sizes(feature_size, attribute_size, name)
        check_scaling(scaling)
        for key, value in penalties.items():
            if not value > 0:
                raise FewshotError(f"head.{key}={value}; expected more than 0")
        self.name, self.scaling = name, scaling
        self.register_buffer("weight", torch.full((feature_size, self.attribute_size), torch.nan))

    @property
    def is_fitted(self) -> bool:
        return not bool(self.weight.isnan().any())

    def check_fitted(self) -> None:
        """Raise a FewshotError if there is no map yet."""
        if not self.is_fitted:
            raise FewshotError(
                f"head={self.name} was not fitted to base classes; train with it, or test it with a checkpoint"
            )

    @abstractmethod
    def fit_base(
        self, features: Float[Tensor, "n d"], labels: Int64[Tensor, " n"], attributes: Float[Tensor, "s a"]
    ) -> None:
        """Fit to all images of the base classes and to what is known of these."""
