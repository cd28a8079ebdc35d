"""What makes new training tasks out of those of a step."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fewshot.episodes.episodes import Episodes
from fewshot.errors import FewshotError

Terms = tuple[tuple[float, Episodes], ...]
Embed = Callable[[Episodes, Callable[[Tensor], Tensor]], Episodes]


@dataclass(frozen=True, eq=False)
class NewTasks:
    """Features of new tasks, and how their losses make one.

    Args:
        terms: episodes of features, each with a factor on its loss; accuracy and parts are told of the first.
        combine: the sum of the terms' losses to the total, and named scalars for the training curve.
    """

    terms: Terms
    combine: Callable[[Tensor], tuple[Tensor, Mapping[str, Tensor]]] = field(default=lambda total: (total, {}))

    def loss(self, of: Callable[[Episodes], Any]) -> Any:
        """What `of` finds in the first term, with the `total` of all and more `parts`.

        Args:
            of: features to a named tuple with `total` and `parts`.
        """
        found = [of(features) for _, features in self.terms]
        total = sum(factor * one.total for (factor, _), one in zip(self.terms, found, strict=True))
        total, more = self.combine(total)
        return found[0]._replace(total=total, parts=found[0].parts | dict(more))


class TaskAugmentation(nn.Module, ABC):
    """Called with image episodes, their backbone and a generator; returns features of new tasks. In training only."""

    # How many tasks a step must have.
    least_tasks = 1
    # Whether a new task's classes are base classes still, for losses that know those.
    keeps_classes = False
    # Whether items of one class go with items of another, so that no class may be without.
    pairs_classes = False
    # The levels of the backbone that it may work at: 0 are the images.
    levels: tuple[int, ...] = (0,)

    @abstractmethod
    def forward(self, episodes: Episodes, backbone: nn.Module, rng: np.random.Generator) -> NewTasks:
        """Image episodes to features of new tasks."""

    def check(self, backbone: nn.Module, tasks: int | None = None) -> None:
        """Raise a FewshotError unless it can work with this backbone and so many tasks in a step of a device."""
        name = type(self).__name__
        if tasks is not None and tasks < self.least_tasks:
            raise FewshotError(
                f"{name} mixes the tasks of a step, and here each device has {tasks}; use training.tasks_per_step=4"
            )
        last = getattr(backbone, "levels", 0)
        if max(self.levels) > last:
            way_out = f"0 to {last}" if last else "0, the images: one cannot step into this backbone, or its pooling"
            raise FewshotError(
                f"{name}: there is no level {max(self.levels)} in {type(backbone).__name__}; use {way_out}"
            )


class TaskChange(ABC):
    """What was drawn for a batch of tasks whose items are changed at one level of the backbone."""

    level = 0

    @abstractmethod
    def items(self, tasks: Episodes) -> Episodes:
        """The tasks, their items at `level`, with changed items."""

    def terms(self, features: Episodes) -> Terms:
        """The changed tasks' features with the labels that they are trained with."""
        return ((1.0, features),)

    def features(self, images: Episodes, backbone: nn.Module, embed: Embed = Episodes.map) -> Episodes:
        """The features of the changed tasks.

        Args:
            images: the tasks as they were.
            backbone: whose maps at `level` are changed.
            embed: applies a part of the backbone to all items.
        """
        if self.level == 0:
            return embed(self.items(images), backbone)
        hidden = self.items(embed(images, partial(backbone.forward_to, self.level)))
        return embed(hidden, partial(backbone.forward_from, self.level))


class ChangedTasks(TaskAugmentation):
    """An augmentation that changes items at one level of the backbone, drawn for each step."""

    # Whether queries have two labels, for which a loss is to be taken twice.
    two_labels = False

    @abstractmethod
    def draw(self, episodes: Episodes, rng: np.random.Generator) -> TaskChange:
        """What is to be done with these tasks; their items are not looked at."""

    def forward(self, episodes: Episodes, backbone: nn.Module, rng: np.random.Generator) -> NewTasks:
        """Image episodes to features of changed tasks."""
        change = self.draw(episodes, rng)
        return NewTasks(change.terms(change.features(episodes, backbone)))


def fresh_rng() -> np.random.Generator:
    """A generator seeded by torch's, which the training loop seeds with the run's seed and the episode's number."""
    return np.random.default_rng(int(torch.randint(2**62, ())))


def checked_levels(levels: object, where: str = "task_augmentation.levels") -> tuple[int, ...]:
    """A list of levels as a tuple.

    Raises:
        FewshotError: it is no list of whole numbers from 0, or empty.
    """
    given = tuple(levels) if hasattr(levels, "__iter__") and not isinstance(levels, str) else (levels,)
    if not given or any(isinstance(x, bool) or not isinstance(x, int) or x < 0 for x in given):
        raise FewshotError(f"{where}={levels}; expected whole numbers such as [0,1,2], 0 for the images")
    return given


def checked_beta(beta: object, where: str = "task_augmentation.beta") -> tuple[float, float]:
    """The two parameters of a Beta distribution.

    Raises:
        FewshotError: they are not two positive numbers.
    """
    given = tuple(beta) if hasattr(beta, "__iter__") and not isinstance(beta, str) else (beta,)
    fits = len(given) == 2 and all(isinstance(x, int | float) and not isinstance(x, bool) and x > 0 for x in given)
    if not fits:
        raise FewshotError(f"{where}={beta}; expected two positive numbers such as [2.0,2.0]")
    return float(given[0]), float(given[1])


def checked_chance(name: str, value: float) -> float:
    """A probability.

    Raises:
        FewshotError: it is outside 0 to 1.
    """
    if not 0 <= value <= 1:
        raise FewshotError(f"task_augmentation.{name}={value}; expected 0 to 1")
    return value
