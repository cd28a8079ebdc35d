"""Mixup within a task, at a layer of the backbone (MetaMix, Yao et al., 2021)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from fewshot.episodes.episodes import Episodes
from fewshot.task_augmentation.augmentation import ChangedTasks, Terms, checked_beta, checked_levels
from fewshot.task_augmentation.mixing import Mix
from fewshot.task_augmentation.pairing import counterparts


@dataclass(frozen=True, eq=False)
class QueryMix(Mix):
    """A mix whose queries have two labels.

    Args:
        factor: of the loss with the queries' own labels; `1 - factor` is that of the other labels.
        other_labels: of the queries' counterparts, `[B, Q]`.
    """

    factor: float = 1.0
    other_labels: Int64[Tensor, "b q"] | None = None

    def terms(self, features: Episodes) -> Terms:
        """The features under the own labels and under the others'."""
        return ((self.factor, features), (1 - self.factor, replace(features, query_labels=self.other_labels)))


class TaskMixup(ChangedTasks):
    """Mixes the queries of each task with each other: `lambda L(y) + (1 - lambda) L(y')` for a query of labels y and y'.

    For the cross-entropy that is the loss of the soft label. With `support` each support item is mixed with another of its
    class, so that prototypes stay those of one class. No query is mixed with a support item.

    Args:
        levels: of the backbone, one of which is drawn for each step: 0 the images, l the map behind the l-th block.
        beta: lambda ~ Beta(a, b), drawn for each step.
        support: whether support items are mixed within their class; it needs two shots to change anything.

    Raises:
        FewshotError: a level or parameter that there is not.

    Source: Yao et al., Improving Generalization in Meta-learning via Task Augmentation, 2021, as in the code of Yao, Zhang,
    Finn 2022 for tables; mixing the support within its classes is this project's.
    """

    two_labels = True

    def __init__(self, levels: Sequence[int] = (1,), beta: Sequence[float] = (2.0, 2.0), support: bool = False):
        super().__init__()
        self.levels, self.beta, self.support = checked_levels(levels), checked_beta(beta), support

    def draw(self, episodes: Episodes, rng: np.random.Generator) -> QueryMix:
        """Pairs of queries, and of support items within their class."""
        (tasks, queries), device = episodes.query_labels.shape, episodes.device
        level, factor = int(rng.choice(self.levels)), float(rng.beta(*self.beta))
        query = torch.from_numpy(rng.random((tasks, queries)).argsort(1)).to(device)
        itself = torch.arange(episodes.way, device=device).expand(tasks, -1)
        labels = episodes.support_labels
        support = counterparts(labels, labels, itself, shift=int(self.support))
        return QueryMix(
            torch.full((tasks,), factor, device=device),
            torch.arange(tasks, device=device),
            support,
            query,
            level,
            factor=factor,
            other_labels=episodes.query_labels.gather(1, query),
        )
