"""What is done to features before a head sees them."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.functional import normalize

from fewshot.episodes.episodes import Episodes
from fewshot.errors import FewshotError

TRANSFORMS = ("un", "l2n", "cl2n", "power")
_SMALL = 1e-6


class FeatureTransform(nn.Module):
    """One of the ways in which papers prepare features.

    - `un`: as they are.
    - `l2n`: to unit length.
    - `cl2n`: minus the mean of the base classes' features, then to unit length.
    - `power`: `sign(z) (|z| + 1e-6)^exponent`, then to unit length. Features behind a ReLU have one sign.

    Args:
        kind: which.
        feature_size: of the backbone; `cl2n` needs it.
        exponent: of `power`, more than 0.

    Raises:
        FewshotError: unknown kind, an exponent that is not positive, or `cl2n` before the base mean is known.

    Source: Wang et al., SimpleShot, 2019, section 3.2; power: Hu et al., Leveraging the Feature Distribution in
    Transfer-based Few-Shot Learning, 2021, section 3.2.
    """

    def __init__(self, kind: str = "l2n", feature_size: int | None = None, exponent: float = 0.5):
        super().__init__()
        if kind not in TRANSFORMS:
            raise FewshotError(f"features={kind}; expected one of {', '.join(TRANSFORMS)}")
        if not exponent > 0:
            raise FewshotError(f"exponent={exponent} of features=power; expected more than 0")
        self.kind, self.exponent = kind, exponent
        if kind == "cl2n":
            if feature_size is None:
                raise FewshotError(
                    "features=cl2n needs to know how many features there are; give a backbone, or a bank of features"
                )
            # The learner knows it, keeps it with its weights and tells it here.
            self.register_buffer("base_mean", torch.full((feature_size,), torch.nan), persistent=False)

    def forward(self, features: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
        """Features to features of the same size."""
        if self.kind == "un":
            return features
        if self.kind == "power":
            features = features.sign() * (features.abs() + _SMALL) ** self.exponent
        elif self.kind == "cl2n":
            if self.base_mean.isnan().any():
                raise FewshotError("features=cl2n have no mean of base features; train with this head, or use l2n")
            features = features - self.base_mean
        return normalize(features, dim=-1)


def bare(head: nn.Module) -> nn.Module:
    """The head behind a preparation of features, or the head itself."""
    return head.head if isinstance(head, Prepared) else head


class Prepared(nn.Module):
    """A head that sees transformed features.

    Args:
        head: episodes of features to logits `[B, Q, N]`.
        transform: of its features.
    """

    def __init__(self, head: nn.Module, transform: FeatureTransform):
        super().__init__()
        self.head, self.transform = head, transform
        self.transductive = bool(getattr(head, "transductive", False))
        self.trains_backbone = getattr(head, "trains_backbone", True)
        self.needs_support = bool(getattr(head, "needs_support", True))
        self.reads_attributes = bool(getattr(head, "reads_attributes", False))
        self.fits_base = bool(getattr(head, "fits_base", False))

    def prepared(self, episodes: Episodes) -> Episodes:
        """The same tasks with transformed features."""
        return episodes.with_items(self.transform(episodes.support), self.transform(episodes.query))

    def forward(self, episodes: Episodes) -> Float[Tensor, "b q n"]:
        """Features of a batch of tasks to what the head makes of them."""
        return self.head(self.prepared(episodes))

    @property
    def is_fitted(self) -> bool:
        return self.head.is_fitted

    def fit_base(
        self, features: Float[Tensor, "n d"], labels: Int64[Tensor, " n"], attributes: Float[Tensor, "s a"]
    ) -> None:
        """Fit the head to transformed features of the base classes."""
        self.head.fit_base(self.transform(features), labels, attributes)

    def training_terms(self, episodes: Episodes) -> dict[str, Float[Tensor, ""]]:
        """Those of the head."""
        return self.head.training_terms(self.prepared(episodes)) if hasattr(self.head, "training_terms") else {}
