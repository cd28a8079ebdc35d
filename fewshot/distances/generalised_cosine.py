"""A trained similarity that starts as the cosine."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fewshot.distances.cosine import cosine_similarity
from fewshot.errors import FewshotError

FORMS = ("diagonal", "bilinear", "mlp")


class GeneralisedCosine(nn.Module):
    """The cosine of two vectors with weights; before training it is the cosine itself.

    With `x` and `y` of unit length:

    - `diagonal`: `sum_j w_j x_j y_j`, w starting at 1.
    - `bilinear`: `x^T (I + A B^T) y` with A and B `[d, rank]`, A starting at 0 and B at random: from two zeros no
      gradient leads away.
    - `mlp`: `x^T y + g(x * y)`, g a network of one hidden layer whose last weights start at 0.

    A constant beside these is left out: it would be the same for all classes and change neither prediction nor loss.

    Args:
        size: of the vectors (d).
        form: one of the three.
        rank: of `bilinear`, at least 1.
        hidden: units of `mlp`, at least 1.

    Raises:
        FewshotError: an unknown form, or a rank or width below 1.
    """

    def __init__(self, size: int, form: str = "bilinear", rank: int = 16, hidden: int = 256):
        super().__init__()
        if form not in FORMS:
            raise FewshotError(f"head.metric={form!r}; expected one of {', '.join(FORMS)}")
        for name, value in (("rank", rank), ("hidden", hidden)):
            if value < 1:
                raise FewshotError(f"head.{name}={value}; expected at least 1")
        self.form = form
        if form == "diagonal":
            self.weight = nn.Parameter(torch.ones(size))
        elif form == "bilinear":
            self.left = nn.Parameter(torch.zeros(size, rank))
            self.right = nn.Parameter(torch.randn(size, rank) / size**0.5)
        else:
            self.network = nn.Sequential(nn.Linear(size, hidden), nn.ReLU(), nn.Linear(hidden, 1, bias=False))
            nn.init.zeros_(self.network[2].weight)

    def forward(self, x: Float[Tensor, "b q d"], y: Float[Tensor, "b n d"]) -> Float[Tensor, "b q n"]:
        """The similarity of all pairs; vectors need not be of unit length, only their directions count."""
        x, y = nn.functional.normalize(x, dim=-1), nn.functional.normalize(y, dim=-1)
        if self.form == "diagonal":
            return (self.weight * x) @ y.transpose(1, 2)
        cosine = cosine_similarity(x, y)
        if self.form == "bilinear":
            return cosine + (x @ self.left) @ (y @ self.right).transpose(1, 2)
        return cosine + self.network(x[:, :, None] * y[:, None]).squeeze(-1)
