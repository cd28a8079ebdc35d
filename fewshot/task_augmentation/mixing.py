"""Items of tasks mixed with items of partner tasks, linearly or by a box of pixels."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from fewshot.episodes.episodes import Episodes
from fewshot.task_augmentation.augmentation import TaskChange
from fewshot.task_augmentation.pairing import taken


@dataclass(frozen=True, eq=False)
class Mix(TaskChange):
    """`share x + (1 - share) x'`, where x' is the counterpart of x; labels stay those of x.

    Args:
        share: of each task itself, `[B]` in 0 to 1.
        task: the partner of each task, `[B]`.
        support: index of each support item's counterpart in the partner task, `[B, S]`.
        query: the same for queries, `[B, Q]`.
        level: of the backbone, at which maps are mixed; 0 are the images.
        boxes: for images: the box of x that lies in x', of the supports and of the queries `[2, B, H, W]`; None mixes linearly.
    """

    share: Float[Tensor, " b"]
    task: Int64[Tensor, " b"]
    support: Int64[Tensor, "b s"]
    query: Int64[Tensor, "b q"]
    level: int = 0
    boxes: Bool[Tensor, "2 b h w"] | None = None

    def partners(self, tasks: Episodes) -> Episodes:
        """The counterparts of all items."""
        return tasks.with_items(
            taken(tasks.support, self.task, self.support), taken(tasks.query, self.task, self.query)
        )

    def pairs(self, tasks: Episodes) -> Episodes:
        """Items and their counterparts side by side, `[B, S, 2, ...]`, for those who mix them later."""
        others = self.partners(tasks)
        return tasks.with_items(
            torch.stack([tasks.support, others.support], 2), torch.stack([tasks.query, others.query], 2)
        )

    def items(self, tasks: Episodes) -> Episodes:
        """The tasks with mixed items."""
        others = self.partners(tasks)
        pairs = ((tasks.support, others.support), (tasks.query, others.query))
        if self.boxes is None:
            return tasks.with_items(*(blended(own, other, self.share) for own, other in pairs))
        return tasks.with_items(
            *(torch.where(box[:, None, None], *pair) for pair, box in zip(pairs, self.boxes, strict=True))
        )


def blended(own: Tensor, other: Tensor, share: Tensor) -> Tensor:
    """`share own + (1 - share) other`, with a share for each task; `own` to the bit where it is 1."""
    share = share.to(own.dtype).reshape(share.shape + (1,) * (own.dim() - share.dim()))
    return own * share + other * (1 - share)


def draw_boxes(share: np.ndarray, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Which pixels lie in a box of `sqrt(share)` of the image's sides whose centre is uniform; bool `[b, height, width]`.

    What of it lies outside the image is cut off, so that it holds less than `share` of the pixels: `(r - r^2 / 4)^2` in the
    mean, with `r = sqrt(share)`.

    Source: Yao et al., Meta-Learning with Fewer Tasks through Task Interpolation, 2022, the authors' code, whose lambda is
    `1 - share`.
    """
    inside = []
    for size in (height, width):
        half = np.floor(size * np.sqrt(share)).astype(int) // 2
        centre = rng.integers(size, size=len(share))
        place = np.arange(size)
        inside.append((place >= (centre - half)[:, None]) & (place < (centre + half)[:, None]))
    return inside[0][:, :, None] & inside[1][:, None, :]
