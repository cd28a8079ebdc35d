"""Graphs of nearest neighbours within each task."""

import torch
from jaxtyping import Float
from torch import Tensor

from fewshot.distances.euclidean import squared_euclidean

GRAPHS = ("directed", "symmetric", "psd")


def neighbour_graph(points: Float[Tensor, "b m d"], neighbours: int, graph: str) -> Float[Tensor, "b m m"]:
    """Weights between the points of a task; a point is no neighbour of itself, whatever lies on top of it.

    Args:
        points: of each task.
        neighbours: how many nearest points each row points to, fewer if there are no more.
        graph: `directed` has weight 1 at each of them; `symmetric` is the mean of that and its transpose; `psd` adds to the
            symmetric one the sums of its rows on the diagonal, which makes it positive semidefinite.
    """
    distance = squared_euclidean(points, points)
    distance.diagonal(dim1=1, dim2=2).fill_(torch.inf)
    nearest = distance.topk(min(neighbours, points.shape[1] - 1), largest=False).indices
    weights = torch.zeros_like(distance).scatter_(2, nearest, 1.0)
    if graph == "directed":
        return weights
    weights = (weights + weights.transpose(1, 2)) / 2
    return weights + torch.diag_embed(weights.sum(-1)) if graph == "psd" else weights
