"""Graphs of nearest neighbours within each task."""

import torch
from jaxtyping import Float
from torch import Tensor

GRAPHS = ("directed", "symmetric", "psd")


def neighbour_graph(points: Float[Tensor, "b m d"], neighbours: int, graph: str) -> Float[Tensor, "b m m"]:
    """Weights between the points of a task; a point is no neighbour of itself, whatever lies on top of it.

    Args:
        points: of each task.
        neighbours: how many nearest points each row points to, fewer if there are no more.
        graph: `directed` has weight 1 at each of them; `symmetric` is the mean of that and its transpose; `psd` adds to the
            symmetric one the sums of its rows on the diagonal, which makes it positive semidefinite.
    """
    # Of the mean's place nothing depends, and products of small numbers lose less.
    points = points - points.mean(1, keepdim=True)
    # Along a row the square of its own length is the same everywhere: it does not change which are nearest.
    squares = points.square().sum(-1)[:, None]
    farness = torch.baddbmm(squares, points, points.transpose(1, 2), alpha=-2)
    farness.diagonal(dim1=1, dim2=2).fill_(torch.inf)
    weights = torch.zeros_like(farness)
    # A few times the nearest is faster than to sort, and there are few.
    for _ in range(min(neighbours, points.shape[1] - 1)):
        nearest = farness.argmin(2, keepdim=True)
        weights.scatter_(2, nearest, 1.0)
        farness.scatter_(2, nearest, torch.inf)
    if graph == "directed":
        return weights
    weights = (weights + weights.transpose(1, 2)) / 2
    return weights + torch.diag_embed(weights.sum(-1)) if graph == "psd" else weights
