"""The head of MSENet: a weighted sum of the distances at several stages (Askari et al., 2024)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fewshot.distances.euclidean import squared_euclidean
from fewshot.episodes.episodes import Episodes
from fewshot.episodes.prototypes import prototypes
from fewshot.errors import FewshotError


class MultiScaleHead(nn.Module):
    """Logits are `-sum_s alpha_s ||x^s - p^s||`: Euclidean distances, not squared, of the parts of each stage.

    Args:
        stage_sizes: features of each stage, as `pooling=multi_scale` puts them end to end.
        learn_weights: train the alphas, which start at 1; without, they stay there.

    Raises:
        FewshotError: features that are not those of stages.

    Source: Askari et al., Enhancing Few-Shot Image Classification through Learnable Multi-Scale Embedding and Attention
    Mechanisms, 2024.
    """

    transductive = False

    def __init__(self, stage_sizes: Sequence[int] | None = None, learn_weights: bool = True):
        super().__init__()
        if stage_sizes is None:
            raise FewshotError("head=multi_scale weighs the stages of a backbone; use pooling=multi_scale")
        self.stage_sizes = tuple(stage_sizes)
        self.alpha = nn.Parameter(torch.ones(len(self.stage_sizes)), requires_grad=learn_weights)

    def distances(self, episodes: Episodes) -> Float[Tensor, "b q n s"]:
        """Of each query and prototype at each stage."""
        centres = prototypes(episodes.support, episodes.support_labels, episodes.way)
        parts = zip(
            episodes.query.split(self.stage_sizes, dim=-1), centres.split(self.stage_sizes, dim=-1), strict=True
        )
        # The small number keeps the root's gradient finite where a query lies on a prototype.
        return torch.stack([(squared_euclidean(x, p) + 1e-12).sqrt() for x, p in parts], dim=-1)

    def forward(self, episodes: Episodes) -> Float[Tensor, "b q n"]:
        """Features of a batch of tasks to logits `[B, Q, N]`."""
        return -self.distances(episodes) @ self.alpha
