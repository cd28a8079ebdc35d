"""Gradient steps on one task, as a pure function of weights."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from fewshot.errors import FewshotError

Weights = dict[str, Tensor]
Gradient = Callable[[Callable[[Weights], Tensor], Weights], Weights]


def descend(
    start: Weights,
    loss: Callable[[Weights], Tensor],
    rates: Callable[[str, int], Tensor | float],
    steps: int,
    gradient: Gradient,
    clip: float | None = None,
) -> Iterator[Weights]:
    """The weights before and after each of so many gradient steps, `steps + 1` of them, one by one.

    `w_{t+1} = w_t - rate(t) * grad loss(w_t)`, element by element.

    Args:
        start: weights by name.
        loss: weights to a scalar.
        rates: of a weight at a step, a number or what can be multiplied with the weight.
        steps: how many.
        gradient: of a loss by weights, such as `autograd_gradient`.
        clip: largest norm of a step's whole gradient; None does not clip.

    Source: Finn et al., Model-Agnostic Meta-Learning, 2017, equation 1.
    """
    # Views, so that a weight made of others (a prototype of features) counts as independent of them in a step.
    weights = {name: w.view_as(w) for name, w in start.items()} if torch.is_grad_enabled() else start
    yield weights
    for step in range(steps):
        slope = gradient(loss, weights)
        if clip is not None:
            norm = sum(g.square().sum() for g in slope.values()).clamp_min(1e-12).sqrt()
            share = (clip / norm).clamp_max(1)
            slope = {name: share * g for name, g in slope.items()}
        weights = {name: _stepped(w, rates(name, step), slope[name]) for name, w in weights.items()}
        yield weights


def _stepped(weight: Tensor, rate: Tensor | float, slope: Tensor) -> Tensor:
    # A number needs one operation instead of two, in the gradient too; a network has many small weights.
    return weight - rate * slope if isinstance(rate, Tensor) else torch.sub(weight, slope, alpha=rate)


def autograd_gradient(second_order: bool) -> Gradient:
    """The gradient by plain autograd, itself differentiable or not."""

    def gradient(loss: Callable[[Weights], Tensor], weights: Weights) -> Weights:
        # In a test nothing but the step asks for gradients.
        kept = torch.is_grad_enabled()
        weights = {name: w if kept and w.requires_grad else w.detach().requires_grad_() for name, w in weights.items()}
        with torch.enable_grad():
            value = loss(weights)
        slopes = torch.autograd.grad(
            value, list(weights.values()), create_graph=second_order, allow_unused=True, materialize_grads=True
        )
        return dict(zip(weights, slopes, strict=True))

    return gradient


def functional_gradient(second_order: bool) -> Gradient:
    """The gradient by `torch.func`, which works inside `vmap`."""

    def gradient(loss: Callable[[Weights], Tensor], weights: Weights) -> Weights:
        slopes = torch.func.grad(loss)(weights)
        return slopes if second_order else {name: g.detach() for name, g in slopes.items()}

    return gradient


def check_inner_gradients(name: str, second_order: bool, compiled: bool, precision: str) -> None:
    """Raise a FewshotError if the gradients of an inner loop cannot be had so.

    Args:
        name: of the learner, for the message.
        second_order: whether they are differentiated themselves, through the backbone.
        compiled: whether the backbone is.
        precision: `32`, `tf32`, `bf16` or `16`.
    """
    if compiled and second_order:
        raise FewshotError(
            f"trainer.compile=true: torch.compile has no second derivatives, which {name} needs; use trainer.compile=false or "
            f"learner.first_order=true"
        )
    if precision == "16":
        raise FewshotError(
            f"trainer.precision=16 would scale the loss of a training step and none of the inner losses of {name}, whose small "
            f"gradients would be zeros; use bf16 or 32"
        )


def step_weights(steps: int, progress: float, floor: float = 0.03) -> list[float]:
    """How much the query loss after each step counts in the multi-step loss; they sum to 1.

    All alike at first; the earlier ones fall linearly to `floor / steps`, and from `progress = 1` the last counts alone.

    Args:
        steps: at least 1.
        progress: share of the annealing that is behind, 0 and more.
        floor: of the earlier ones, times 1 / steps.

    Source: Antoniou et al., How to Train Your MAML, 2019, section 4 (multi-step loss optimisation), and the authors' code.
    """
    if progress >= 1:
        return [0.0] * (steps - 1) + [1.0]
    early = max(1 / steps - progress / steps, floor / steps)
    return [early] * (steps - 1) + [1 - early * (steps - 1)]


class _Carried(torch.autograd.Function):
    """A value whose gradients are known already."""

    @staticmethod
    def forward(ctx, value: Tensor, gradients: Sequence[Tensor], *inputs: Tensor) -> Tensor:
        ctx.save_for_backward(*gradients)
        return value.clone()

    @staticmethod
    def backward(ctx, outer: Tensor):
        return None, None, *(outer * gradient for gradient in ctx.saved_tensors)


def carrying(value: Tensor, gradients: Mapping[Tensor, Tensor]) -> Tensor:
    """`value` as a scalar whose `backward()` gives each input its gradient, found before.

    So tasks can be differentiated one after the other, with the memory of one, inside what looks like one forward pass.
    """
    return _Carried.apply(value, list(gradients.values()), *gradients)
