"""What a learner said of each query of a meta-test, for diagnostics."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from fewshot.episodes.episodes import Episodes


@dataclass(eq=False)
class Predictions:
    """Probabilities and labels of all queries, gathered batch by batch.

    Scores become probabilities by a softmax, which leaves log-probabilities what they are. Nothing is predicted twice: a
    meta-test hands on what it has.
    """

    _probabilities: list[Tensor] = field(default_factory=list)
    _labels: list[Tensor] = field(default_factory=list)
    _classes: list[Tensor] = field(default_factory=list)

    def add(self, episodes: Episodes, logits: Tensor) -> None:
        """Keep what was said of the queries of a batch of tasks."""
        self._probabilities.append(logits.float().softmax(-1).cpu())
        self._labels.append(episodes.query_labels.cpu())
        self._classes.append(episodes.classes.cpu())

    @property
    def probabilities(self) -> Tensor:
        """`[episodes, Q, N]`."""
        return torch.cat(self._probabilities)

    @property
    def labels(self) -> Tensor:
        """int64 `[episodes, Q]`, places in the episode."""
        return torch.cat(self._labels)

    @property
    def classes(self) -> Tensor:
        """int64 `[episodes, N]`, numbers of the classes in their bank."""
        return torch.cat(self._classes)
