"""Logistic regression on the support set, for all tasks at once."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.functional import one_hot

from fewshot.episodes.episodes import Episodes
from fewshot.errors import FewshotError


class LogisticHead(nn.Module):
    """Fits multinomial logistic regression to each support set and scores the queries with it.

    Minimises `||W||^2 / 2 + c * sum_i CE(W s_i + b, y_i)`, scikit-learn's objective, by Newton's method; the linear
    systems are solved by conjugate gradients, all tasks side by side. No gradient flows through the fit,
    so the head scores features and trains no backbone.

    Args:
        c: weight of the data against the penalty, more than 0.
        normalise: scale features to unit length first.
        iterations: of Newton's method, at the most.
        tolerance: largest gradient at which a task is done.

    Raises:
        FewshotError: a weight that is not positive, or no iterations.

    Source: Tian et al., Rethinking Few-Shot Image Classification: a Good Embedding Is All You Need?, 2020, section 3.2.
    """

    transductive = False
    trains_backbone = False

    def __init__(self, c: float = 1.0, normalise: bool = True, iterations: int = 50, tolerance: float = 1e-5):
        super().__init__()
        if not c > 0:
            raise FewshotError(f"head.c={c}; expected more than 0")
        if iterations < 1:
            raise FewshotError(f"head.iterations={iterations}; expected at least 1")
        self.c, self.normalise, self.iterations, self.tolerance = c, normalise, iterations, tolerance

    def forward(self, episodes: Episodes) -> Float[Tensor, "b q n"]:
        """Features of a batch of tasks to logits `[B, Q, N]`."""
        support, query = episodes.support.detach(), episodes.query.detach()
        if self.normalise:
            support, query = (nn.functional.normalize(x, dim=-1) for x in (support, query))
        weight, bias = fit_logistic(
            support, episodes.support_labels, episodes.way, self.c, self.iterations, self.tolerance
        )
        return query @ weight + bias


@torch.no_grad()
def fit_logistic(
    support: Float[Tensor, "b s d"],
    labels: Int64[Tensor, "b s"],
    way: int,
    c: float,
    iterations: int = 50,
    tolerance: float = 1e-5,
) -> tuple[Float[Tensor, "b d n"], Float[Tensor, "b 1 n"]]:
    """The weights and biases that minimise the objective of `LogisticHead`, one pair for each task."""
    # The solution lies in the span of the support: in its coordinates there are s unknowns instead of d.
    basis, coordinates = torch.linalg.qr(support.transpose(1, 2))
    z = torch.cat([coordinates.transpose(1, 2), torch.ones_like(support[..., :1])], dim=-1)
    # The bias is not penalised.
    penalty = torch.ones(z.shape[-1], 1, dtype=z.dtype, device=z.device)
    penalty[-1] = 0
    target = one_hot(labels, way).to(z.dtype)
    theta = z.new_zeros(len(z), z.shape[-1], way)

    def value(theta: Tensor) -> Tensor:
        fit = -(target * (z @ theta).log_softmax(-1)).sum((1, 2))
        return 0.5 * (penalty * theta.square()).sum((1, 2)) + c * fit

    going = torch.ones(len(z), dtype=torch.bool, device=z.device)
    for _ in range(iterations):
        p = (z @ theta).softmax(-1)
        # What is added to all classes alike changes no probability and meets no curvature: rounding would drift along it.
        gradient = _centred(penalty * theta + c * z.transpose(1, 2) @ (p - target))
        going = going & (gradient.abs().amax((1, 2)) > tolerance)
        if not going.any():
            break

        def curvature(v: Tensor, p: Tensor = p) -> Tensor:
            zv = z @ v
            return penalty * v + c * z.transpose(1, 2) @ (p * (zv - (p * zv).sum(-1, keepdim=True)))

        step = _centred(_conjugate_gradients(curvature, -gradient))
        slope, start = (gradient * step).sum((1, 2)), value(theta)
        # A fall that rounding hides is none; tasks end one by one, whatever lies beside them.
        going = going & (-slope > 4 * torch.finfo(z.dtype).eps * start)
        length = going.to(z.dtype)
        for _ in range(30):
            # Halved where the objective did not fall as far as the slope promises.
            high = going & (value(theta + length[:, None, None] * step) > start + 1e-4 * length * slope)
            if not high.any():
                break
            length = torch.where(high, length / 2, length)
        theta = theta + length[:, None, None] * step
    return basis @ theta[:, :-1], theta[:, -1:]


def _centred(x: Float[Tensor, "b p n"]) -> Float[Tensor, "b p n"]:
    """Without what is common to all classes."""
    return x - x.mean(-1, keepdim=True)


def _conjugate_gradients(product, right: Float[Tensor, "b p n"], steps: int = 100) -> Float[Tensor, "b p n"]:
    """`x` with `product(x) = right` for each task, `product` being positive semidefinite."""
    x, residual = torch.zeros_like(right), right
    direction, square = residual, residual.square().sum((1, 2), keepdim=True)
    goal = 1e-12 * square
    for _ in range(steps):
        if bool((square <= goal).all()):
            break
        image = product(direction)
        bend = (direction * image).sum((1, 2), keepdim=True)
        rate = torch.where((square > goal) & (bend > 0), square / bend.clamp_min(torch.finfo(right.dtype).tiny), 0.0)
        x, residual = x + rate * direction, residual - rate * image
        new = residual.square().sum((1, 2), keepdim=True)
        direction = (
            residual
            + torch.where(square > goal, new / square.clamp_min(torch.finfo(right.dtype).tiny), 0.0) * direction
        )
        square = torch.where(square > goal, new, square)
    return x
