"""Label propagation in closed form, as in Transductive Propagation Networks (Liu et al., 2019)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import one_hot, pad

from fewshot.distances.euclidean import squared_euclidean
from fewshot.episodes.episodes import Episodes
from fewshot.errors import FewshotError
from fewshot.heads.learned_number import keep_number


class LabelPropagationHead(nn.Module):
    """Scores are `F = (I - alpha S)^-1 Y` on a graph of support and queries; the gradient goes through the solve.

    `w_ij = exp(-||z_i - z_j||^2 / (2 d sigma^2))` with d features; each row keeps its own and its largest weights, either side
    of a pair keeps it; `S = D^-1/2 W D^-1/2`; Y has the one-hot labels of the support and zeros for the queries. The paper finds a
    sigma for each item by a network on its map; here is one for all, which may be trained.

    The paper and the work that it builds on (Zhou et al., 2004) write `w_ii = 0`; the authors' code, which made the published
    figures, keeps `w_ii = 1`. With narrow kernels that decides: beside its own weight an item far from all others hardly counts them,
    without it their weights are scaled up until they do.

    Args:
        alpha: how far labels travel, 0 to less than 1; with 0 queries get no label at all.
        neighbours: weights that each row keeps, beside the item's own.
        sigma: width of the graph's kernel, more than 0, beside the root of the mean squared difference of a
            feature: about 1 for features as a backbone makes them, about `1 / sqrt(d)` for those of unit length.
        learn_sigma: train it with the backbone, from that start.
        self_loops: an item's weight to itself is 1, as in the authors' code and with `head=label_propagation`; else 0.

    Raises:
        FewshotError: a number out of range.

    Source: Liu et al., Learning to Propagate Labels, 2019, equations 1 to 4, and the authors' code.
    """

    transductive = True
    tuned = {"sigma": (0.005, 0.01, 0.02, 0.05, 0.1, 0.3, 1.0)}  # noqa: RUF012

    def __init__(
        self,
        alpha: float = 0.99,
        neighbours: int = 19,
        sigma: float = 1.0,
        learn_sigma: bool = False,
        self_loops: bool = False,
    ):
        super().__init__()
        if not 0 <= alpha < 1:
            raise FewshotError(f"head.alpha={alpha}; expected 0 to less than 1")
        if neighbours < 1:
            raise FewshotError(f"head.neighbours={neighbours}; expected at least 1")
        if not sigma > 0:
            raise FewshotError(f"head.sigma={sigma}; expected more than 0")
        self.alpha, self.neighbours, self.self_loops = alpha, neighbours, self_loops
        log_sigma = torch.tensor(float(sigma)).log()
        keep_number(self, "log_sigma", log_sigma, learn_sigma)

    def graph(self, items: Float[Tensor, "b m d"]) -> Float[Tensor, "b m m"]:
        """The normalised weights S."""
        distance = squared_euclidean(items, items) / items.shape[-1]
        weights = (-distance / (2 * (2 * self.log_sigma).exp())).exp()
        own = torch.eye(items.shape[1], dtype=torch.bool, device=items.device)
        nearest = weights.detach().masked_fill(own, -1).topk(min(self.neighbours, items.shape[1] - 1)).indices
        kept = torch.zeros_like(own).expand_as(weights).scatter(2, nearest, True)
        kept = kept | kept.transpose(1, 2)
        weights = weights * (kept | own if self.self_loops else kept)
        # Two items far from all others have weights of 0: their degree must not be.
        degree = weights.sum(-1).clamp_min(torch.finfo(items.dtype).tiny).rsqrt()
        return degree[:, :, None] * weights * degree[:, None]

    def forward(self, episodes: Episodes) -> Float[Tensor, "b q n"]:
        """Features of a batch of tasks to scores `[B, Q, N]`."""
        s = episodes.support.shape[1]
        items = torch.cat([episodes.support, episodes.query], dim=1)
        labels = pad(one_hot(episodes.support_labels, episodes.way).to(items.dtype), (0, 0, 0, items.shape[1] - s))
        system = torch.eye(items.shape[1], dtype=items.dtype, device=items.device) - self.alpha * self.graph(items)
        return torch.linalg.solve(system, labels)[:, s:]
