"""Training a task's classifier on its support, for many tasks side by side."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import cross_entropy


@torch.enable_grad()
def trained_on_support(
    parameters: Sequence[Tensor],
    logits: Callable[..., Tensor],
    support: Float[Tensor, "b s d"],
    labels: Int64[Tensor, "b s"],
    optimizer: Callable[[list[Tensor]], torch.optim.Optimizer],
    epochs: int,
    batch_size: int,
    generator: torch.Generator,
) -> list[Tensor]:
    """The parameters after epochs over the support in mini-batches; those given stay as they are.

    All tasks see their support in the same random order, and do not touch each other's parameters.

    Args:
        parameters: to start from, each `[b, ...]`.
        logits: `(items, *parameters)` to logits `[b, m, n]`.
        support: features.
        labels: of the support.
        optimizer: parameters to an optimiser that changes each number by its own gradients alone.
        epochs: over the support.
        batch_size: support items of one step.
        generator: of the order.
    """
    parameters = [part.detach().clone().requires_grad_() for part in parameters]
    steps = optimizer(parameters)
    for _ in range(epochs):
        order = torch.randperm(support.shape[1], generator=generator).to(support.device)
        for batch in order.split(batch_size):
            found = logits(support[:, batch], *parameters)
            # The sum over tasks of each task's mean.
            loss = cross_entropy(found.flatten(0, 1), labels[:, batch].flatten(), reduction="sum") / len(batch)
            steps.zero_grad()
            loss.backward()
            steps.step()
    return [part.detach() for part in parameters]
