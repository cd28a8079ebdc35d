"""LaplacianShot: nearest prototypes that agree between neighbouring queries (Ziko et al., 2020)."""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fewshot.distances.euclidean import squared_euclidean
from fewshot.episodes.episodes import Episodes
from fewshot.episodes.prototypes import prototypes
from fewshot.errors import FewshotError
from fewshot.heads.transductive.neighbours import GRAPHS, neighbour_graph
from fewshot.heads.transductive.rectification import rectified_prototypes, shifted


def bound_updates(
    cost: Float[Tensor, "b m n"], graph: Float[Tensor, "b m m"], weight: float, iterations: int, tolerance: float
) -> Iterator[Float[Tensor, "b m n"]]:
    """Log-assignments `log softmax(-cost + weight * W y)`, from `y = softmax(-cost)` on, one after the other.

    Each task stops where its energy `sum(y log y + y cost - weight y W y)` changes by less than `tolerance` of itself, and
    stays as it is while others go on: what a task gets does not depend on the batch it is in.

    Source: Ziko et al. 2020, equation 12.
    """
    scores = (-cost).log_softmax(-1)
    # Not a number until there is a first energy: no comparison with it holds.
    energy = cost.new_full((len(cost),), torch.nan)
    going = torch.ones(len(cost), dtype=torch.bool, device=cost.device)
    yield scores
    for _ in range(iterations):
        y = scores.exp()
        pull = graph @ y
        new_energy = torch.special.xlogy(y, y).sum((1, 2)) + (y * (cost - weight * pull)).sum((1, 2))
        going = going & ~((energy - new_energy).abs() <= tolerance * energy.abs())
        if not bool(going.any()):
            return
        scores = torch.where(going[:, None, None], (-cost + weight * pull).log_softmax(-1), scores)
        energy = new_energy
        yield scores


class LaplacianShotHead(nn.Module):
    """Scores minimise `sum_q <y_q, a_q> + sum_q <y_q, log y_q> - (weight / 2) sum_qp w_qp <y_q, y_p>`.

    `a_q` are squared distances to the prototypes, `w` a graph of nearest neighbours among the queries. The bound updates
    `y_q = softmax(-a_q + weight * sum_p w_qp y_p)` run for all queries and tasks at once; the scores are log-probabilities.
    They lower the objective at each step if the graph is positive semidefinite (`graph=psd`); with the others they may
    swing between two states at large weights.

    Args:
        weight: lambda, at least 0; 0 is the nearest prototype.
        neighbours: of each query; public code counts the query itself and has 3 for these 2.
        graph: `directed` is that of the authors' code, `symmetric` or `psd`.
        rectify: move the queries' mean onto the support's and rectify prototypes as in BD-CSPN, by `norm=count`.
        iterations: at the most.
        tolerance: of the relative change of the energy at which a task is done.

    Raises:
        FewshotError: a number out of range, or an unknown graph.

    Source: Ziko et al., Laplacian Regularized Few-Shot Learning, 2020, equations 6, 8 and 12, and the authors' code.
    """

    transductive = True
    # What the authors choose among, on validation classes.
    tuned = {"weight": (0.1, 0.3, 0.5, 0.7, 0.8, 1.0, 1.2, 1.5)}  # noqa: RUF012

    def __init__(
        self,
        weight: float = 0.7,
        neighbours: int = 2,
        graph: str = "directed",
        rectify: bool = True,
        iterations: int = 20,
        tolerance: float = 1e-6,
    ):
        super().__init__()
        for name, value, least in (("weight", weight, 0), ("neighbours", neighbours, 1), ("iterations", iterations, 0)):
            if not value >= least:
                raise FewshotError(f"head.{name}={value}; expected at least {least}")
        if graph not in GRAPHS:
            raise FewshotError(f"head.graph={graph}; expected one of {', '.join(GRAPHS)}")
        self.weight, self.neighbours, self.graph, self.rectify = weight, neighbours, graph, rectify
        self.iterations, self.tolerance = iterations, tolerance

    def forward(self, episodes: Episodes) -> Float[Tensor, "b q n"]:
        """Features of a batch of tasks to log-probabilities `[B, Q, N]`."""
        if self.rectify:
            episodes = shifted(episodes)
            centres = rectified_prototypes(episodes, norm="count")
        else:
            centres = prototypes(episodes.support, episodes.support_labels, episodes.way)
        cost = squared_euclidean(episodes.query, centres)
        graph = neighbour_graph(episodes.query, self.neighbours, self.graph)
        *_, scores = bound_updates(cost, graph, self.weight, self.iterations, self.tolerance)
        return scores
