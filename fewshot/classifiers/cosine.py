"""A cosine classifier."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import normalize

from fewshot.errors import FewshotError


class CosineClassifier(nn.Module):
    """`scale * g_c * cos(x, w_c)`, one weight vector for each base class.

    Args:
        feature_size: of the backbone.
        classes: how many base classes.
        scale: of the cosine; null for 2 up to 200 classes and 10 beyond, as the authors' code has it.
        learn_norms: train a factor `g_c` for each class, from the length of its first weights (about 0.58), as the authors'
            code does; without, all are 1, as the paper has it.

    Raises:
        FewshotError: a scale that is not positive.

    Source: Baseline++ of Chen et al., A Closer Look at Few-shot Classification, 2019, section 3.2.
    """

    def __init__(self, feature_size: int, classes: int, scale: float | None = None, learn_norms: bool = True):
        super().__init__()
        scale = (2.0 if classes <= 200 else 10.0) if scale is None else scale
        if not scale > 0:
            raise FewshotError(f"classifier.scale={scale}; expected more than 0")
        self.scale = scale
        # As a linear layer of torch starts.
        self.weight = nn.Parameter((2 * torch.rand(classes, feature_size) - 1) / feature_size**0.5)
        self.norms = nn.Parameter(self.weight.detach().norm(dim=1)) if learn_norms else None

    def forward(self, features: Float[Tensor, "n d"]) -> Float[Tensor, "n c"]:
        """Features to logits."""
        cosine = normalize(features, dim=-1) @ normalize(self.weight, dim=-1).T
        return self.scale * (cosine if self.norms is None else cosine * self.norms)
