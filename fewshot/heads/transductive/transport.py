"""Transport of a task's queries to its classes, each class asking for its share of them."""

import torch
from jaxtyping import Float
from torch import Tensor

from fewshot.device import wide


def transport(
    cost: Float[Tensor, "b q n"],
    sharpness: float,
    balance: float = 1.0,
    iterations: int = 100,
    tolerance: float = 1e-6,
    start: Float[Tensor, "b n"] | None = None,
) -> tuple[Float[Tensor, "b q n"], Float[Tensor, "b n"]]:
    """The plan `softmax_j(w_j - sharpness * cost_ij)` whose columns sum to what the classes ask for, and w.

    Rows sum to 1. With `balance` 1 the columns sum to q / n: the plan that Sinkhorn's scaling of rows and columns in turn comes to. With 0
    w is 0 and this is a softmax. Between, column j sums to `(q / n) * exp(-w_j * (1 - balance) / balance)`, the solution of transport with a
    Kullback-Leibler penalty on the columns.

    w minimises a convex function of n numbers, the dual; Newton's method finds it in a few steps where scaling takes hundreds. Where a step does not
    lower the function it is made smaller (Levenberg's damping), so sharp costs do no harm.

    Args:
        cost: of each query and class.
        sharpness: of the transport; at 0 it is 1 / n everywhere.
        balance: 0 to 1.
        iterations: at the most.
        tolerance: of a column's sum, as a part of q / n, at which a task is done.
        start: w of a similar cost, to begin with.

    Source: Cuturi, Sinkhorn Distances, 2013; with a penalty, Chizat et al., Scaling Algorithms for Unbalanced Optimal
    Transport Problems, 2018.
    """
    # The least cost of each row is taken out, which changes no row. Classes first: sums over queries are of neighbours. In 64 bits, as gains are far apart.
    gains = wide(sharpness * (cost.amin(-1, keepdim=True) - cost)).transpose(1, 2).contiguous()
    w = gains.new_zeros(len(gains), gains.shape[1]) if start is None else start
    w = torch.zeros_like(w) if balance == 0 else _minimum(gains, w, balance, iterations, tolerance)
    return _rows(gains, w)[0].transpose(1, 2).to(cost.dtype), w


def _minimum(gains: Tensor, w: Tensor, balance: float, iterations: int, tolerance: float) -> Tensor:
    share = gains.shape[2] / gains.shape[1]
    # Second derivatives are of the order of share / balance.
    eye = share / balance * torch.eye(gains.shape[1], dtype=gains.dtype, device=gains.device)
    # Of numbers that rounding moves by more there is no knowing whether they became less.
    rounding = 100 * torch.finfo(gains.dtype).eps
    allowed = max(tolerance, rounding) * share
    value, missing, curvature = _dual(gains, w, share, balance)
    damping = torch.full_like(value, 1e-9)
    for _ in range(iterations):
        going = missing.abs().amax(1) > allowed
        if not bool(going.any()):
            break
        step = torch.linalg.solve_ex(curvature + damping[:, None, None] * eye, missing).result
        tried = w + step
        new_value, new_missing, new_curvature = _dual(gains, tried, share, balance)
        lower = new_value <= value + rounding * gains.shape[2] * (1 + w.abs().amax(1))
        damping = torch.where(lower, (damping / 10).clamp_min(1e-9), (damping * 10).clamp_min(1e-3))
        # What is done stays as it is: what a task gets does not depend on the batch it is in.
        moves = lower & going
        w = torch.where(moves[:, None], tried, w)
        value = torch.where(moves, new_value, value)
        missing = torch.where(moves[:, None], new_missing, missing)
        curvature = torch.where(moves[:, None, None], new_curvature, curvature)
    return w


def _dual(gains: Tensor, w: Tensor, share: float, balance: float) -> tuple[Tensor, Tensor, Tensor]:
    """The function that is least at the w looked for `[B]`, its gradient downwards `[B, N]` and its second derivatives `[B, N, N]`."""
    plan, value = _rows(gains, w)
    got, loose = plan.sum(2), (1 - balance) / balance
    asked = share * (-loose * w).exp()
    value = value + (asked.sum(1) / loose if loose else -share * w.sum(1))
    return value, asked - got, torch.diag_embed(got + loose * asked) - plan @ plan.transpose(1, 2)


def _rows(gains: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """The plan `[B, N, Q]` of these w, and the sum over queries of the logarithms that its rows were divided by."""
    moved = gains + w[..., None]
    most = moved.amax(1, keepdim=True)
    plan = (moved - most).exp()
    total = plan.sum(1, keepdim=True)
    return plan / total, (most + total.log()).sum((1, 2))
