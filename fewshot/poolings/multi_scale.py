"""Features of several stages at once, each behind self-attention (MSENet, Askari et al., 2024)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fewshot.errors import FewshotError


class SelfAttention(nn.Module):
    """`F' = gamma O + F`, where O mixes the positions of a map by their likeness.

    `A = softmax_j(q_i . k_j)` over all positions with q and k of `c / 8` channels and no scaling, and
    `O_i = sum_j A_ij v_j`.

    Args:
        channels: of the map.
        gamma: at the start; it is trained. 0 leaves maps as they are at first.

    Source: Askari et al. 2024, after Zhang et al., Self-Attention Generative Adversarial Networks, 2019, equations 1 to 3.
    The authors' code makes new random layers in each pass; these are made once and trained.
    """

    def __init__(self, channels: int, gamma: float = 0.0):
        super().__init__()
        small = max(1, channels // 8)
        self.query, self.key = nn.Conv2d(channels, small, 1), nn.Conv2d(channels, small, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.tensor(float(gamma)))

    def attention(self, maps: Float[Tensor, "n c h w"]) -> Float[Tensor, "n p p"]:
        """How much each position (row) takes of each other."""
        query, key = self.query(maps).flatten(2), self.key(maps).flatten(2)
        return (query.transpose(1, 2) @ key).softmax(-1)

    def forward(self, maps: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """A map to a map of the same shape."""
        mixed = self.value(maps).flatten(2) @ self.attention(maps).transpose(1, 2)
        return self.gamma * mixed.view_as(maps) + maps


class MultiScale(nn.Module):
    """The last maps of a backbone, each behind self-attention, averaged over positions and put end to end.

    `stage_sizes` says how many features each stage has; `head=multi_scale` weighs the stages' distances.

    Args:
        stage_shapes: `(c, h, w)` of each map.
        stages: how many stages, from the last; null for all.
        attention: of each stage; without, its map as it is.
        gamma: of the attention at the start.

    Raises:
        FewshotError: more stages than there are, or none.

    Source: Askari, Fateh, Mohammadi, Enhancing Few-Shot Image Classification through Learnable Multi-Scale Embedding and
    Attention Mechanisms, 2024. The authors' code takes maps from inside the stages of a ResNet-18; these are their outputs.
    """

    def __init__(
        self,
        stage_shapes: Sequence[tuple[int, int, int]],
        stages: int | None = None,
        attention: bool = True,
        gamma: float = 0.0,
    ):
        super().__init__()
        count = len(stage_shapes) if stages is None else stages
        if not 1 <= count <= len(stage_shapes):
            raise FewshotError(f"pooling.stages={stages}; this backbone has 1 to {len(stage_shapes)}")
        self.stage_sizes = tuple(shape[0] for shape in stage_shapes[-count:])
        self.feature_size = sum(self.stage_sizes)
        self.attend = nn.ModuleList(SelfAttention(c, gamma) if attention else nn.Identity() for c in self.stage_sizes)

    def forward(self, maps: list[Float[Tensor, "n _ _ _"]]) -> Float[Tensor, "n d"]:
        """The maps of all stages to features."""
        last = maps[-len(self.attend) :]
        return torch.cat([attend(part).mean(dim=(2, 3)) for attend, part in zip(self.attend, last, strict=True)], 1)
