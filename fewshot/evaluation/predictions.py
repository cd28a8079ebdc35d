"""What a learner said of each query of a meta-test, for diagnostics."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from fewshot.episodes.episodes import Episodes


@dataclass(eq=False)
class Predictions:
    """Log-probabilities and labels of all queries, gathered batch by batch.

    Scores become log-probabilities by a softmax, which leaves log-probabilities what they are; in 64 bits, because squared
    distances of many features differ by hundreds. Nothing is predicted twice: a meta-test hands on what it has.
    """

    _log_probabilities: list[Tensor] = field(default_factory=list)
    _labels: list[Tensor] = field(default_factory=list)
    _classes: list[Tensor] = field(default_factory=list)

    def add(self, episodes: Episodes, logits: Tensor) -> None:
        """Keep what was said of the queries of a batch of tasks."""
        self._log_probabilities.append(logits.cpu().double().log_softmax(-1))
        self._labels.append(episodes.query_labels.cpu())
        self._classes.append(episodes.classes.cpu())

    @property
    def log_probabilities(self) -> Tensor:
        """float64 `[episodes, Q, N]`, natural logarithms."""
        return torch.cat(self._log_probabilities)

    @property
    def probabilities(self) -> Tensor:
        """float64 `[episodes, Q, N]`."""
        return self.log_probabilities.exp()

    @property
    def log_odds(self) -> Tensor:
        """float64 `[episodes, Q]`: how sure each answer is, of its probability `p` the logarithm of `p / (1 - p)`.

        It orders answers as their probabilities do, those too whose `p` rounds to 1.
        """
        sorted_down = self.log_probabilities.sort(-1, descending=True).values
        return sorted_down[..., 0] - sorted_down[..., 1:].logsumexp(-1)

    @property
    def labels(self) -> Tensor:
        """int64 `[episodes, Q]`, places in the episode."""
        return torch.cat(self._labels)

    @property
    def classes(self) -> Tensor:
        """int64 `[episodes, N]`, numbers of the classes in their bank."""
        return torch.cat(self._classes)
