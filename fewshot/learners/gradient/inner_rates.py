"""The rates of gradient steps on a task, given or learned."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fewshot.errors import FewshotError

RATES = ("fixed", "per_weight", "per_layer")


class InnerRates(nn.Module):
    """A rate for each weight and step.

    `fixed` is one number. `per_weight` is learned for each number of each weight, the same at all steps (Meta-SGD);
    `per_layer` for each weight and step (LSLR of MAML++), and steps beyond those of training have the last one's. Learned
    rates may fall below zero.

    Args:
        kind: one of the three.
        start: of all of them, at least 0.
        shapes: of the weights, by name.
        steps: of training.

    Raises:
        FewshotError: an unknown kind or a negative start.

    Source: Li et al., Meta-SGD, 2017, equation 2; Antoniou et al., How to Train Your MAML, 2019, section 4.
    """

    def __init__(self, kind: str, start: float, shapes: Mapping[str, torch.Size], steps: int):
        super().__init__()
        if kind not in RATES:
            raise FewshotError(f"learner.rates={kind}; expected one of {', '.join(RATES)}")
        if not 0 <= start < math.inf:
            raise FewshotError(f"learner.lr={start}; expected at least 0, and a finite number")
        self.kind, self.start, self.steps = kind, start, steps
        if kind == "fixed":
            shapes = {}
        # Names of parameters must not hold dots.
        self.learned = nn.ParameterDict(
            {
                name.replace(".", "/"): torch.full(shape if kind == "per_weight" else (steps,), start)
                for name, shape in shapes.items()
            }
        )

    def forward(self, name: str, step: int) -> Tensor | float:
        """The rate of a weight at a step, counted from 0."""
        if self.kind == "fixed":
            return self.start
        rate = self.learned[name.replace(".", "/")]
        return rate if self.kind == "per_weight" else rate[min(step, self.steps - 1)]
