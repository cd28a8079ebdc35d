"""The head of Baseline and Baseline++: a classifier trained on the support set by SGD (Chen et al., 2019)."""

import math
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import normalize

from fewshot.episodes.episodes import Episodes
from fewshot.errors import FewshotError
from fewshot.heads.span import span_basis
from fewshot.heads.support_training import trained_on_support

CLASSIFIERS = ("linear", "cosine")


class FineTuneHead(nn.Module):
    """Trains a classifier of each task's support features by SGD with momentum and scores the queries with it.

    `linear` is `x W + b` (Baseline); `cosine` is `scale * g_c * cos(x, w_c)` with a trained length `g_c` for each class
    (Baseline++). All tasks are trained side by side; they start from the same random weights and see their support in the
    same random order, both drawn from `seed`. No gradient flows through the training, so the head trains no backbone.

    Args:
        classifier: `linear` or `cosine`.
        scale: of the cosine; 2 in the authors' code up to 200 classes.
        epochs: over the support; 0 leaves the random weights.
        batch_size: support items of one step.
        lr: learning rate.
        momentum: of SGD.
        dampening: of SGD's momentum; with 0.9 a step counts a tenth of what it does without.
        weight_decay: of SGD, on all parameters.
        seed: of the weights and the order.

    Raises:
        FewshotError: unknown classifier, or a number out of range.

    Source: Chen et al., A Closer Look at Few-shot Classification, 2019, section 3.2, and the authors' code.
    """

    transductive = False
    trains_backbone = False

    def __init__(
        self,
        classifier: str = "linear",
        scale: float = 2.0,
        epochs: int = 100,
        batch_size: int = 4,
        lr: float = 0.01,
        momentum: float = 0.9,
        dampening: float = 0.9,
        weight_decay: float = 1e-3,
        seed: int = 0,
    ):
        super().__init__()
        if classifier not in CLASSIFIERS:
            raise FewshotError(f"head.classifier={classifier}; expected one of {', '.join(CLASSIFIERS)}")
        for name, value, least in (
            *(("epochs", epochs, 0), ("batch_size", batch_size, 1), ("seed", seed, 0)),
            *(("momentum", momentum, 0), ("weight_decay", weight_decay, 0)),
        ):
            if not value >= least:
                raise FewshotError(f"head.{name}={value}; expected at least {least}")
        for name, value in (("scale", scale), ("lr", lr)):
            if not value > 0:
                raise FewshotError(f"head.{name}={value}; expected more than 0")
        self.classifier, self.scale = classifier, scale
        self.epochs, self.batch_size, self.seed = epochs, batch_size, seed
        self.sgd = {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay}

    def forward(self, episodes: Episodes) -> Float[Tensor, "b q n"]:
        """Features of a batch of tasks to logits `[B, Q, N]`."""
        support, query = episodes.support.detach(), episodes.query.detach()
        if self.classifier == "cosine":
            support, query = normalize(support, dim=-1), normalize(query, dim=-1)
        generator = torch.Generator().manual_seed(self.seed)
        weight = self._start(support.shape[-1], episodes.way, generator).to(support)
        bias = self._start(support.shape[-1], episodes.way, generator)[:1].to(support)
        support, query, weight = _fewer_dimensions(support, query, weight)
        parameters = [weight, bias.expand(len(support), 1, -1)]
        if self.classifier == "cosine":
            parameters[1] = weight.norm(dim=1, keepdim=True)
        parameters = trained_on_support(
            parameters,
            self._logits,
            support,
            episodes.support_labels,
            partial(torch.optim.SGD, **self.sgd),
            self.epochs,
            self.batch_size,
            generator,
        )
        return self._logits(query, *parameters)

    def _logits(self, items: Tensor, weight: Tensor, other: Tensor) -> Tensor:
        if self.classifier == "linear":
            return items @ weight + other
        return self.scale * other * (items @ normalize(weight, dim=1))

    @staticmethod
    def _start(size: int, way: int, generator: torch.Generator) -> Float[Tensor, "d n"]:
        """Weights as torch's linear layers start with."""
        return (2 * torch.rand(way, size, generator=generator).T - 1) / math.sqrt(size)


def _fewer_dimensions(
    support: Float[Tensor, "b s d"], query: Float[Tensor, "b q d"], weight: Float[Tensor, "d n"]
) -> tuple[Float[Tensor, "b s k"], Float[Tensor, "b q k"], Float[Tensor, "b k n"]]:
    """Everything in coordinates of the span of support and weights, which SGD on either classifier does not leave."""
    weight = weight.expand(len(support), -1, -1)
    basis = span_basis(torch.cat([support, weight.transpose(1, 2)], dim=1))
    if basis is None:
        return support, query, weight
    return support @ basis, query @ basis, basis.transpose(1, 2) @ weight
