"""MLTI: tasks between tasks (Yao, Zhang, Finn, 2022)."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from fewshot.episodes.episodes import Episodes
from fewshot.errors import FewshotError
from fewshot.task_augmentation.augmentation import ChangedTasks, checked_beta, checked_chance, checked_levels
from fewshot.task_augmentation.mixing import Mix, draw_boxes
from fewshot.task_augmentation.pairing import counterparts

LABELS, INPUTS = ("arbitrary", "shared"), ("cutmix", "linear")


class MLTI(ChangedTasks):
    """Mixes each task of a step with the next one: the k-th item of a class with the k-th of a class of the other.

    With `labels=arbitrary` (non-label-sharing) class n of a task goes with class pi(n) of its partner, pi a random permutation,
    and the mixture is a new class n. With `labels=shared` (label-sharing) it goes with the same base class, which the partner
    must have, so labels stay what they are. Support and queries of a task have one share lambda, one permutation and
    one level.

    A task that is not mixed with the next is mixed with itself, its classes permuted; with `labels=shared` it stays as it is.

    Args:
        levels: of the backbone, one of which is drawn for each step: 0 the images, l the map behind the l-th block.
        beta: lambda ~ Beta(a, b), the share of the task itself, drawn for each task.
        cross: chance to be mixed with the next task of the step, 0 to 1.
        labels: `arbitrary` or `shared`.
        input: how images are mixed: `linear`, or `cutmix`, where a box of the task's image lies in its partner's, another for
            support and queries. Its sides are sqrt(lambda) of the image's before it is cut off at the edge, so that it holds
            less than lambda; lambda = 0 leaves the partner alone, but lambda = 1 does not leave the task alone.

    Raises:
        FewshotError: a level, parameter or choice that there is not.

    Source: Yao, Zhang, Finn, Meta-Learning with Fewer Tasks through Task Interpolation, 2022, section 3 and the authors' code.
    """

    pairs_classes = True

    def __init__(
        self,
        levels: Sequence[int] = (0,),
        beta: Sequence[float] = (2.0, 2.0),
        cross: float = 0.5,
        labels: str = "arbitrary",
        input: str = "cutmix",
    ):
        super().__init__()
        for name, value, known in (("labels", labels, LABELS), ("input", input, INPUTS)):
            if value not in known:
                raise FewshotError(f"task_augmentation.{name}={value}; expected one of {', '.join(known)}")
        self.levels, self.beta = checked_levels(levels), checked_beta(beta)
        self.cross, self.labels, self.input = checked_chance("cross", cross), labels, input
        self.least_tasks = 2 if cross > 0 else 1

    @property
    def keeps_classes(self) -> bool:
        return self.labels == "shared"

    def draw(self, episodes: Episodes, rng: np.random.Generator) -> Mix:
        """A share, a partner and pairs of classes for each task, and a level for all of them."""
        tasks, way, device = len(episodes), episodes.way, episodes.device
        level = int(rng.choice(self.levels))
        share = rng.beta(*self.beta, size=tasks)
        own = np.arange(tasks)
        partner = np.where(rng.random(tasks) < self.cross, (own + 1) % tasks, own)
        slots = torch.from_numpy(rng.random((tasks, way)).argsort(1)).to(device)
        task = torch.from_numpy(partner).to(device)
        if self.labels == "shared":
            slots = _same_classes(episodes.classes, episodes.classes[task])
        boxes = None
        if level == 0 and self.input == "cutmix":
            pixels = episodes.support.shape[-2:]
            boxes = torch.from_numpy(np.stack([draw_boxes(share, *pixels, rng) for _ in range(2)])).to(device)
        pairs = (
            counterparts(labels, labels[task], slots) for labels in (episodes.support_labels, episodes.query_labels)
        )
        return Mix(torch.from_numpy(share).float().to(device), task, *pairs, level, boxes)


def _same_classes(classes: Tensor, others: Tensor) -> Tensor:
    """Where each class is among those of the partner."""
    same = classes[:, :, None] == others[:, None]
    if not bool(same.any(-1).all()):
        raise FewshotError(
            "task_augmentation.labels=shared needs tasks that have the same classes, such as as many ways as there are base "
            "classes; use labels=arbitrary"
        )
    return same.long().argmax(-1)
