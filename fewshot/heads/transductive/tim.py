"""Transductive information maximisation (Boudiaf et al., 2020) and its alpha version (Veilleux et al., 2021)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import one_hot

from fewshot.distances.euclidean import squared_euclidean
from fewshot.episodes.episodes import Episodes
from fewshot.episodes.prototypes import prototypes
from fewshot.errors import FewshotError
from fewshot.heads.span import span_coordinates

SOLVERS = ("adm", "gd")
TASKS_AT_A_TIME = 8


def entropy(p: Float[Tensor, "*b n"], alpha: float = 1.0) -> Float[Tensor, "*b"]:
    """`(1 - sum_c p_c^alpha) / (alpha - 1)`, and Shannon's entropy (in nats) at alpha = 1.

    Source: Veilleux et al. 2021, equation 5.
    """
    if alpha == 1:
        return -torch.special.xlogy(p, p).sum(-1)
    return (1 - (p**alpha).sum(-1)) / (alpha - 1)


def _entropy_gradient(p: Tensor, alpha: float) -> Tensor:
    """The derivative of `entropy` by each p_c, up to a constant, which the softmax takes out again."""
    log_p = p.clamp_min(torch.finfo(p.dtype).tiny).log()
    return -log_p if alpha == 1 else -alpha / (alpha - 1) * ((alpha - 1) * log_p).expm1()


class TIMHead(nn.Module):
    """One vector for each class, fitted to the labels of the support and to confident, evenly spread predictions.

    `p_ic = softmax_c(-(tau / 2) ||z_i - w_c||^2)`; each task minimises

        weights[0] * CE(support) - weights[1] * H(mean_q p_q) + weights[2] * mean_q H(p_q)

    over its w, which start as class means. `solver=gd` does so by Adam, `adm` by alternating closed-form updates of w and
    of auxiliary assignments. The second term draws predictions towards as many queries of each class. With `alpha` other
    than 1 both entropies are alpha-entropies, which leaves uneven queries more room (alpha-TIM; `solver=gd`); with a second
    weight of 0 this is entropy minimisation (Dhillon et al. 2020). The scores are log-probabilities.

    Args:
        solver: `adm` or `gd`.
        weights: of the three terms.
        alpha: of the entropies, more than 0; 1 is Shannon's.
        temperature: tau, more than 0, for features of unit length.
        iterations: of the solver; null is 150 for `adm` and 1000 for `gd`.
        lr: of Adam.

    Raises:
        FewshotError: unknown solver, a number out of range, or alpha-entropies with `adm`.

    Source: Boudiaf et al., Transductive Information Maximization For Few-Shot Learning, 2020, equations 2, 3 and
    propositions 1 and 2, and the authors' code; Veilleux et al., Realistic Evaluation of Transductive Few-Shot
    Learning, 2021, equations 5 and 7.
    """

    transductive = True
    trains_backbone = False
    tuned = {"temperature": (5.0, 10.0, 15.0, 20.0, 30.0)}  # noqa: RUF012

    def __init__(
        self,
        solver: str = "adm",
        weights: Sequence[float] = (0.1, 1.0, 0.1),
        alpha: float = 1.0,
        temperature: float = 15.0,
        iterations: int | None = None,
        lr: float = 1e-4,
    ):
        super().__init__()
        if solver not in SOLVERS:
            raise FewshotError(f"head.solver={solver}; expected one of {', '.join(SOLVERS)}")
        if len(weights) != 3 or min(weights) < 0:
            raise FewshotError(f"head.weights={list(weights)}; expected three numbers of at least 0")
        for name, value in (("alpha", alpha), ("temperature", temperature), ("lr", lr)):
            if not value > 0:
                raise FewshotError(f"head.{name}={value}; expected more than 0")
        if alpha != 1 and solver == "adm":
            raise FewshotError(f"head.alpha={alpha} needs head.solver=gd; the closed forms are of Shannon's entropy")
        iterations = {"adm": 150, "gd": 1000}[solver] if iterations is None else iterations
        if iterations < 0:
            raise FewshotError(f"head.iterations={iterations}; expected at least 0")
        self.solver, self.weights, self.alpha = solver, tuple(weights), alpha
        self.temperature, self.iterations, self.lr = temperature, iterations, lr

    @torch.no_grad()
    def forward(self, episodes: Episodes) -> Float[Tensor, "b q n"]:
        """Features of a batch of tasks to log-probabilities `[B, Q, N]`."""
        support, query = episodes.support, episodes.query
        if self.solver == "adm":
            # Adam's steps depend on the axes, these do not.
            support, query = span_coordinates(support, query)
        centres = prototypes(support, episodes.support_labels, episodes.way)
        target = one_hot(episodes.support_labels, episodes.way).to(support.dtype)
        if self.solver == "adm":
            centres = self._alternate(centres, support, query, target)
        else:
            # A few tasks at a time: their features are read again in every step, and so few stay in a processor's cache.
            few = len(centres) if centres.is_cuda else TASKS_AT_A_TIME
            parts = zip(*(x.split(few) for x in (centres, support, query, target)), strict=True)
            centres = torch.cat([self._descend(*part) for part in parts])
        return (-self.temperature / 2 * squared_euclidean(query, centres)).log_softmax(-1)

    def _descend(self, centres: Tensor, support: Tensor, query: Tensor, target: Tensor) -> Tensor:
        """Adam on the centres, with the gradient written out."""
        ce, marginal, conditional = self.weights
        items = torch.cat([support, query], dim=1)
        s, q = support.shape[1], query.shape[1]
        mean, square = torch.zeros_like(centres), torch.zeros_like(centres)
        beta1, beta2, epsilon = 0.9, 0.999, 1e-8
        for step in range(1, self.iterations + 1):
            # ||z||^2 is the same for all classes and leaves the softmax as it is.
            offset = -self.temperature / 2 * centres.square().sum(-1)[:, None]
            p = torch.baddbmm(offset, items, centres.transpose(1, 2), alpha=self.temperature).softmax(-1)
            of_query = p[:, s:]
            by_p = conditional * _entropy_gradient(of_query, self.alpha)
            by_p -= marginal * _entropy_gradient(of_query.mean(1, keepdim=True), self.alpha)
            by_score = torch.cat(
                [
                    ce / s * (p[:, :s] - target),
                    of_query * (by_p - (of_query * by_p).sum(-1, keepdim=True)) / q,
                ],
                dim=1,
            )
            gradient = by_score.transpose(1, 2) @ items - by_score.sum(1)[..., None] * centres
            gradient *= self.temperature
            mean.lerp_(gradient, 1 - beta1)
            square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
            rate = self.lr / (1 - beta1**step)
            centres = centres - rate * mean / ((square / (1 - beta2**step)).sqrt_() + epsilon)
        return centres

    def _alternate(self, centres: Tensor, support: Tensor, query: Tensor, target: Tensor) -> Tensor:
        """Closed-form updates of assignments and centres in turn."""
        ce, marginal, conditional = self.weights
        share, ratio = ce / (1 + conditional), support.shape[1] / query.shape[1]
        s = support.shape[1]
        items = torch.cat([support, query], dim=1)
        tiny = torch.finfo(items.dtype).tiny
        for _ in range(self.iterations):
            offset = -self.temperature / 2 * centres.square().sum(-1)[:, None]
            log_p = torch.baddbmm(offset, items, centres.transpose(1, 2), alpha=self.temperature).log_softmax(-1)
            p = log_p.exp()
            sharp = ((1 + conditional) * log_p[:, s:]).exp()
            assigned = sharp * sharp.sum(1, keepdim=True).clamp_min(tiny) ** (-marginal / (1 + marginal))
            assigned = assigned / assigned.sum(-1, keepdim=True)
            # Support and queries with their weights: what draws the centres, and what they keep of themselves.
            taken = torch.cat([share * target, ratio * assigned], dim=1)
            kept = torch.cat([share * p[:, :s], ratio * p[:, s:]], dim=1)
            pulled = (taken - kept).transpose(1, 2) @ items + kept.sum(1)[..., None] * centres
            centres = pulled / taken.sum(1)[..., None]
        return centres
