"""The relation module of Relation Networks (Sung et al., 2018)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fewshot.episodes.episodes import Episodes
from fewshot.episodes.prototypes import prototypes
from fewshot.errors import FewshotError


class RelationHead(nn.Module):
    """A small network looks at a query's map beside a class's map and says how related they are, in 0..1.

    The class map is the mean of its shots' maps (the original code sums them, which is the same for one shot and
    ties the network to the number of shots otherwise). Train with `loss=mean_squared_error`, as the paper
    does, or with cross-entropy on `scores="logit"`.

    Args:
        map_shape: channels, height and width of the backbone's last map; the features are that map, flattened.
        width: channels inside.
        hidden: units before the score.
        scores: `probability` returns the score in 0..1, `logit` what the sigmoid is taken of.

    Raises:
        FewshotError: features that are no map, or unknown scores.

    Source: Sung et al., Learning to Compare: Relation Network for Few-Shot Learning, 2018, section 3.4.
    """

    transductive = False

    def __init__(
        self, map_shape: Sequence[int] | None = None, width: int = 64, hidden: int = 8, scores: str = "probability"
    ):
        super().__init__()
        if scores not in ("probability", "logit"):
            raise FewshotError(f"head.scores={scores}; expected probability or logit")
        for name, value in (("width", width), ("hidden", hidden)):
            if value < 1:
                raise FewshotError(f"head.{name}={value}; expected at least 1")
        if map_shape is None or map_shape[1] * map_shape[2] == 1:
            raise FewshotError(
                "head=relation compares maps, but this backbone pools to one position; use backbone=conv4 "
                "backbone.poolings=2, or pooling=flatten with another backbone"
            )
        channels, height, wide = map_shape
        self.map_shape, self.scores = tuple(map_shape), scores
        self.compare = nn.Sequential(_block(2 * channels, width), _block(width, width))
        with torch.no_grad():
            size = self.compare.eval()(torch.zeros(1, 2 * channels, height, wide)).numel()
        self.compare.train()
        self.score = nn.Sequential(nn.Linear(size, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, episodes: Episodes) -> Float[Tensor, "b q n"]:
        """Features of a batch of tasks to scores `[B, Q, N]`."""
        centres = prototypes(episodes.support, episodes.support_labels, episodes.way)
        b, q, n = len(episodes), episodes.query.shape[1], episodes.way
        left = centres.unflatten(-1, self.map_shape)[:, None].expand(-1, q, -1, -1, -1, -1)
        right = episodes.query.unflatten(-1, self.map_shape)[:, :, None].expand(-1, -1, n, -1, -1, -1)
        pairs = torch.cat([left, right], dim=3).flatten(0, 2)
        scores = self.score(self.compare(pairs).flatten(1)).view(b, q, n)
        return scores.sigmoid() if self.scores == "probability" else scores


def _block(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True)
    )
