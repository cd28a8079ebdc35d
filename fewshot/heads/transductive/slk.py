"""Clustering of support and queries together: SLK-Means and SLK-MS (Ziko et al., 2021)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import one_hot

from fewshot.distances.euclidean import squared_euclidean
from fewshot.episodes.episodes import Episodes
from fewshot.episodes.prototypes import prototypes
from fewshot.errors import FewshotError
from fewshot.heads.transductive.neighbours import GRAPHS, neighbour_graph
from fewshot.heads.transductive.rectification import shifted

CENTRES = ("means", "modes")


class SLKHead(nn.Module):
    """Clusters with one centre for each class, a Laplacian between neighbours, and the labels of the support held fast.

    In turn, until nothing changes: centres are the means of the items of each class, or their modes by mean shift; and
    all items are assigned by bound updates `z_p = softmax(-phi_p + weight * sum_q w_pq z_q)`, with `phi` the squared distance
    to a mean, or `-exp(-||x - m||^2 / (2 s^2))` for a mode. `weight=0` is plain K-means or K-modes. The scores are
    log-probabilities of the last assignments.

    Args:
        centres: `means` (SLK-Means) or `modes` (SLK-MS).
        weight: lambda, at least 0.
        neighbours: of each item in the graph over support and queries.
        graph: `directed` is that of the authors' code, `symmetric` or `psd`.
        shift: move the queries' mean onto the support's first.
        clamp_support: hold the support's labels in all updates; without, in the first alone, as the authors' code does.
        steps: of centres and assignments in turn, at the most.
        iterations: of bound updates in each step, at the most.
        tolerance: a task is done when no assignment changes by more.

    Raises:
        FewshotError: a number out of range, or unknown centres or graph.

    Source: Ziko et al., Transductive Few-Shot Learning: Clustering is All You Need?, 2021, and the authors' code, which stops
    by the change of an energy instead; `s^2` is, as there, a fifth of the mean over all items of the summed squared
    distances to their neighbours.
    """

    transductive = True
    trains_backbone = False
    tuned = {"weight": (0.05, 0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 1.0)}  # noqa: RUF012

    def __init__(
        self,
        centres: str = "means",
        weight: float = 0.7,
        neighbours: int = 2,
        graph: str = "directed",
        shift: bool = True,
        clamp_support: bool = True,
        steps: int = 100,
        iterations: int = 100,
        tolerance: float = 1e-5,
    ):
        super().__init__()
        if centres not in CENTRES:
            raise FewshotError(f"head.centres={centres}; expected one of {', '.join(CENTRES)}")
        if graph not in GRAPHS:
            raise FewshotError(f"head.graph={graph}; expected one of {', '.join(GRAPHS)}")
        bounds = (
            ("weight", weight, 0),
            ("neighbours", neighbours, 1),
            ("steps", steps, 0),
            ("iterations", iterations, 1),
        )
        for name, value, least in bounds:
            if not value >= least:
                raise FewshotError(f"head.{name}={value}; expected at least {least}")
        self.centres, self.weight, self.neighbours, self.graph = centres, weight, neighbours, graph
        self.shift, self.clamp_support = shift, clamp_support
        self.steps, self.iterations, self.tolerance = steps, iterations, tolerance

    @torch.no_grad()
    def forward(self, episodes: Episodes) -> Float[Tensor, "b q n"]:
        """Features of a batch of tasks to log-probabilities `[B, Q, N]`."""
        way, s = episodes.way, episodes.support.shape[1]
        episodes = shifted(episodes) if self.shift else episodes
        items = torch.cat([episodes.support, episodes.query], dim=1)
        graph = neighbour_graph(items, self.neighbours, self.graph)
        known = one_hot(episodes.support_labels, way).to(items.dtype)
        width = self._width(items) if self.centres == "modes" else None
        centres = prototypes(episodes.support, episodes.support_labels, way)
        scores = (-squared_euclidean(items, centres)).log_softmax(-1)
        labels = torch.cat([episodes.support_labels, scores[:, s:].argmax(-1)], dim=1)
        going = torch.ones(len(items), dtype=torch.bool, device=items.device)
        for _ in range(self.steps):
            member = one_hot(labels, way).to(items.dtype)
            new_centres = self._centres(items, member, centres, width)
            new_scores = self._assign(items, new_centres, graph, known, width)
            new_labels = new_scores.argmax(-1)
            if self.clamp_support:
                new_labels = torch.cat([episodes.support_labels, new_labels[:, s:]], dim=1)
            pick = going[:, None, None]
            centres, scores = torch.where(pick, new_centres, centres), torch.where(pick, new_scores, scores)
            changed = (new_labels != labels).any(1)
            labels = torch.where(going[:, None], new_labels, labels)
            going = going & changed
            if not bool(going.any()):
                break
        return scores[:, s:]

    def _width(self, items: Tensor) -> Float[Tensor, "b 1 1"]:
        """`s^2` of the kernel, one for each task."""
        distance = squared_euclidean(items, items)
        graph = neighbour_graph(items, self.neighbours, "directed")
        width = (graph * distance).sum((1, 2)) / (5 * items.shape[1])
        return width.clamp_min(torch.finfo(items.dtype).eps)[:, None, None]

    def _centres(self, items: Tensor, member: Tensor, before: Tensor, width: Tensor | None) -> Float[Tensor, "b n d"]:
        if self.centres == "means":
            count = member.sum(1)[..., None]
            means = member.transpose(1, 2) @ items / count.clamp_min(1)
            return torch.where(count > 0, means, before)
        going = torch.ones(len(items), dtype=torch.bool, device=items.device)
        for _ in range(1000):
            near = (-squared_euclidean(items, before) / (2 * width)).exp() * member
            total = near.sum(1)[..., None]
            after = near.transpose(1, 2) @ items / total.clamp_min(torch.finfo(items.dtype).tiny)
            after = torch.where((total > 0) & going[:, None, None], after, before)
            change = (after - before).norm(dim=-1).amax(1) / before.norm(dim=-1).amax(1).clamp_min(1e-12)
            before = after
            going = going & (change > 1e-5)
            if not bool(going.any()):
                break
        return before

    def _assign(self, items: Tensor, centres: Tensor, graph: Tensor, known: Tensor, width: Tensor | None) -> Tensor:
        s = known.shape[1]
        cost = squared_euclidean(items, centres)
        if self.centres == "modes":
            cost = -(-cost / (2 * width)).exp()
        scores = (-cost).log_softmax(-1)
        if self.weight == 0:
            return scores
        z = torch.cat([known, scores[:, s:].exp()], dim=1)
        going = torch.ones(len(items), dtype=torch.bool, device=items.device)
        for _ in range(self.iterations):
            new_scores = (-cost + self.weight * graph @ z).log_softmax(-1)
            new_z = new_scores.exp()
            if self.clamp_support:
                new_z = torch.cat([known, new_z[:, s:]], dim=1)
            change = (new_z - z).abs().amax((1, 2))
            pick = going[:, None, None]
            scores, z = torch.where(pick, new_scores, scores), torch.where(pick, new_z, z)
            going = going & (change > self.tolerance)
            if not bool(going.any()):
                break
        return scores
