"""Turned classes as new classes (Liu, Chao, Lin, 2020)."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from fewshot.episodes.episodes import Episodes
from fewshot.errors import FewshotError
from fewshot.task_augmentation.augmentation import ChangedTasks, TaskChange, checked_chance
from fewshot.task_augmentation.pairing import counterparts, taken


@dataclass(frozen=True, eq=False)
class Turns(TaskChange):
    """Images of each class turned by so many quarters.

    Args:
        quarters: of each class, `[B, N]`, 0 to 3.
        base: the class of the task that each class is made of, `[B, N]`; None is itself.
    """

    quarters: Int64[Tensor, "b n"]
    base: Int64[Tensor, "b n"] | None = None

    def items(self, tasks: Episodes) -> Episodes:
        """The tasks with turned images."""
        sets = ((tasks.support, tasks.support_labels), (tasks.query, tasks.query_labels))
        return tasks.with_items(*(self._turned(*given) for given in sets))

    def _turned(self, images: Tensor, labels: Tensor) -> Tensor:
        if self.base is not None:
            itself = torch.arange(len(images), device=images.device)
            images = taken(images, itself, counterparts(labels, labels, self.base))
        return turned(images, self.quarters.gather(1, labels))


def turned(images: Tensor, quarters: Int64[Tensor, "b m"]) -> Tensor:
    """Square images `[B, M, c, h, w]`, each turned by its number of quarters."""
    found = images.clone()
    for quarter in range(1, 4):
        which = quarters == quarter
        found[which] = torch.rot90(images[which], quarter, (-2, -1))
    return found


class ClassRotation(ChangedTasks):
    """Base class c turned by r quarters is a class (c, r) of its own: all images of a class of a task are turned alike.

    Test classes are never turned: this is done in training only. Images are turned after image augmentation.

    Args:
        p_rot: chance of a class to be turned, by one, two or three quarters alike; 3/4 draws all four turns alike.
        distinct_base: a task has no two turns of one base class; without, its classes are drawn from all turns of its base
            classes, and two turns of a class show the same images.

    Raises:
        FewshotError: a chance outside 0 to 1.

    Source: Liu, Chao, Lin, Task Augmentation by Rotating for Meta-Learning, 2020; the chance of a turn is this project's.
    """

    def __init__(self, p_rot: float = 0.5, distinct_base: bool = True):
        super().__init__()
        self.p_rot, self.distinct_base = checked_chance("p_rot", p_rot), distinct_base

    def draw(self, episodes: Episodes, rng: np.random.Generator) -> Turns:
        """How far each class is turned, and of which base class it is."""
        height, width = episodes.support.shape[-2:]
        if height != width:
            raise FewshotError(
                f"task_augmentation=class_rotation turns square images, these are {width}x{height}; use data.size"
            )
        tasks, way = len(episodes), episodes.way
        chance = np.array([1 - self.p_rot, *(self.p_rot / 3,) * 3])
        if self.distinct_base:
            quarters = (rng.random((tasks, way))[..., None] >= chance.cumsum()[:-1]).sum(-1)
            return Turns(torch.from_numpy(quarters).to(episodes.device))
        # The largest of log-chances with Gumbel noise are a draw without replacement.
        with np.errstate(divide="ignore"):
            keys = np.log(np.tile(chance, way)) + rng.gumbel(size=(tasks, 4 * way))
        pairs = torch.from_numpy(np.sort(np.argsort(-keys, axis=1)[:, :way])).to(episodes.device)
        return Turns(pairs % 4, pairs // 4)
