"""ProtoTune, the head of ProtoTransfer: a linear layer that starts as the prototypes and is trained on the support."""

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fewshot.distances.euclidean import squared_euclidean
from fewshot.episodes.episodes import Episodes
from fewshot.episodes.prototypes import prototypes
from fewshot.errors import FewshotError
from fewshot.heads.support_training import trained_on_support


class ProtoTuneHead(nn.Module):
    """Trains `x W + b`, which starts at `W = 2 p_k` and `b_k = -||p_k||^2`, on each task's support by Adam.

    At that start the scores are those of squared Euclidean distances to the prototypes, up to a number that all classes of a
    query share. All tasks are trained side by side, and see their support in the same random order, drawn from `seed`. In
    training mode nothing is tuned: scores are minus the squared distances, and the backbone learns by them.

    Args:
        epochs: over the support; 0 leaves the prototypes.
        batch_size: support items of one step; null for as many as there are classes.
        lr: of Adam.
        seed: of the order.

    Raises:
        FewshotError: a number out of range.

    Source: Medina et al., Self-Supervised Prototypical Transfer Learning for Few-Shot Classification, 2020, section 3.2, and
        the authors' code.
    """

    transductive = False

    def __init__(self, epochs: int = 15, batch_size: int | None = None, lr: float = 1e-3, seed: int = 0):
        super().__init__()
        for name, value, least in (("epochs", epochs, 0), ("batch_size", batch_size, 1), ("seed", seed, 0)):
            if value is not None and value < least:
                raise FewshotError(f"head.{name}={value}; expected at least {least}")
        if not lr > 0:
            raise FewshotError(f"head.lr={lr}; expected more than 0")
        self.epochs, self.batch_size, self.lr, self.seed = epochs, batch_size, lr, seed

    def forward(self, episodes: Episodes) -> Float[Tensor, "b q n"]:
        """Features of a batch of tasks to logits `[B, Q, N]`."""
        if self.training:
            centres = prototypes(episodes.support, episodes.support_labels, episodes.way)
            return -squared_euclidean(episodes.query, centres)
        support = episodes.support.detach()
        centres = prototypes(support, episodes.support_labels, episodes.way)
        weight, bias = trained_on_support(
            [2 * centres.transpose(1, 2).contiguous(), -centres.square().sum(-1).unsqueeze(1)],
            lambda items, weight, bias: items @ weight + bias,
            support,
            episodes.support_labels,
            partial(torch.optim.Adam, lr=self.lr),
            self.epochs,
            self.batch_size or episodes.way,
            torch.Generator().manual_seed(self.seed),
        )
        return episodes.query @ weight + bias
