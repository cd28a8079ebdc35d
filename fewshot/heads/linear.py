"""A linear layer with an output for each class of a task, for learners that adapt it by gradient."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fewshot.episodes.episodes import Episodes
from fewshot.episodes.protocol import Protocol
from fewshot.episodes.prototypes import prototypes
from fewshot.errors import FewshotError

STARTS = ("weights", "shared", "prototypes")


class LinearHead(nn.Module):
    """Logits `W f(x) + b` of the queries; the support plays no part but in the start of `prototypes`.

    Where W and b of a new task come from:

    - `weights`: an own row for each of `way` classes, as in MAML. Which class gets which row is chance.
    - `shared`: one row for all classes, which only the task tells apart (UNICORN-MAML).
    - `prototypes`: `w_c = 2 m p_c`, `b_c = -m^2 ||p_c||^2` with p_c the class's mean support feature, as in
      Proto-MAML; at m = 1 the logits are those of Prototypical Networks up to what is the same for all classes.

    Args:
        feature_size: d.
        way: classes of a task; tasks with fewer use the first rows.
        start: `weights`, `shared` or `prototypes`.
        zero: start `weights` or `shared` at zero instead of at random.
        multiplier: m of `prototypes`, more than 0.

    Raises:
        FewshotError: an unknown start, a multiplier that is not positive, or tasks of more classes than rows.

    Source: Finn et al. 2017, section 3.1; Ye and Chao, How to Train Your MAML to Excel in Few-Shot Classification, 2022,
    section 5; Triantafillou et al., Meta-Dataset, 2020, section 3, and the authors' code for the multiplier.
    """

    transductive = False
    reads_support = False

    def __init__(
        self, feature_size: int, way: int = 5, start: str = "weights", zero: bool = False, multiplier: float = 1.0
    ):
        super().__init__()
        if start not in STARTS:
            raise FewshotError(f"head.start={start}; expected one of {', '.join(STARTS)}")
        if not multiplier > 0:
            raise FewshotError(f"head.multiplier={multiplier}; expected more than 0")
        self.begins, self.multiplier = start, multiplier
        if start == "prototypes":
            # No weights of its own: a task's are put here.
            self.register_buffer("weight", torch.empty(0, feature_size), persistent=False)
            self.register_buffer("bias", torch.empty(0), persistent=False)
            return
        rows = nn.Linear(feature_size, 1 if start == "shared" else way)
        self.weight, self.bias = rows.weight, rows.bias
        if zero:
            nn.init.zeros_(self.weight)
            nn.init.zeros_(self.bias)

    @property
    def makes_weights(self) -> bool:
        """Whether each task has a W and b of its own, which `start` makes."""
        return self.begins != "weights"

    def start(self, episodes: Episodes) -> dict[str, Float[Tensor, "b ..."]]:
        """W `[B, N, d]` and b `[B, N]` that a batch of tasks of features begins with."""
        tasks, way = len(episodes), episodes.way
        if self.begins == "prototypes":
            centres = self.multiplier * prototypes(episodes.support, episodes.support_labels, way)
            return {"weight": 2 * centres, "bias": -centres.square().sum(-1)}
        if self.begins == "shared":
            return {"weight": self.weight.repeat(tasks, way, 1), "bias": self.bias.repeat(tasks, way)}
        return {}

    def check_protocol(self, protocol: Protocol) -> None:
        """Raise a FewshotError if tasks have more classes than there are rows."""
        self._check_way(protocol.way)

    def forward(self, episodes: Episodes) -> Float[Tensor, "b q n"]:
        """Features of a batch of tasks to logits `[B, Q, N]`."""
        way, rows = episodes.way, len(self.bias)
        if self.makes_weights and rows != way:
            own = self.start(episodes)
            return episodes.query @ own["weight"].transpose(1, 2) + own["bias"][:, None]
        self._check_way(way)
        return episodes.query @ self.weight[:way].T + self.bias[:way]

    def _check_way(self, way: int) -> None:
        if not self.makes_weights and len(self.bias) < way:
            raise FewshotError(
                f"tasks of {way} classes for a linear head of {len(self.bias)}; train with at least as many "
                f"(episodes.train.way), or use head.start=shared or prototypes"
            )
