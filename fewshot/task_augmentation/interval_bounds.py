"""IBI: a task and its interval bounds, and tasks between them (Datta et al., 2023)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from fewshot.device import processes
from fewshot.episodes.episodes import Episodes
from fewshot.errors import FewshotError
from fewshot.task_augmentation.augmentation import NewTasks, TaskAugmentation, checked_beta
from fewshot.task_augmentation.bounds import Box, through

WEIGHTINGS = ("softmax", "fixed")
# Side of the image that tells whether bounds go through a backbone.
_TRIED = 32


class IntervalBounds(TaskAugmentation):
    """Draws a box around each image, carries it through the first blocks, and trains on what lies in it.

    Beside the task's loss are the mean squared distances of upper and lower bound from the map of the image itself behind the
    last of these blocks, over all items. One task of each step is replaced, in a second pass through the other blocks, by one
    that lies between its maps and one of their bounds: for each class a draw beta ~ Beta(a, b) and a fair choice of upper or
    lower bound, the same for support and queries, and `o + beta (bound - o)`. The loss is the mean of both passes'.

    With `weighting=softmax` the total is `sum_k w_k L_k` over task, upper and lower loss, `w = softmax(L / temperature)`; as the
    bounds' distances grow with depth and eps they may take all weight: the curve shows `weight_of_task`. With `fixed` it is
    `L + weight (L_upper + L_lower)`, which at eps = 0 is the loss without any of this.

    Args:
        eps: half the side of the box, in pixel values of 0 to 1; bounds are not cut off there.
        blocks: how many of the backbone's blocks bounds are carried through.
        beta: of the interpolation; null trains on no task in between.
        weighting: `softmax` or `fixed`.
        temperature: of the softmax.
        weight: of each bound's loss, for `fixed`.
        detach: take the softmax's weights as numbers. Otherwise, as the authors do, the smallest losses are pushed up.
        ramp: share of training over which eps rises from 0 in a straight line.
        training_episodes: of the whole training; needed for a ramp.
        std: of each channel, that images were divided by; None if by nothing.

    Raises:
        FewshotError: a number out of range, or a ramp of unknown length.

    Source: Datta, Mullick, Chakrabarty, Das, Interval Bound Interpolation for Few-shot Learning with Few Tasks, 2023. The
    published code is MAML; the form for metric learners is this project's reconstruction.
    """

    # An item between its map and a bound is of its own class.
    keeps_classes = True

    def __init__(
        self,
        eps: float = 0.05,
        blocks: int = 1,
        beta: Sequence[float] | None = (0.5, 0.5),
        weighting: str = "softmax",
        temperature: float = 1.0,
        weight: float = 1.0,
        detach: bool = True,
        ramp: float = 0.9,
        training_episodes: int | None = None,
        std: Sequence[float] | None = None,
    ):
        super().__init__()
        if weighting not in WEIGHTINGS:
            raise FewshotError(f"task_augmentation.weighting={weighting}; expected one of {', '.join(WEIGHTINGS)}")
        for name, value in (("eps", eps), ("weight", weight), ("ramp", ramp)):
            if value < 0:
                raise FewshotError(f"task_augmentation.{name}={value}; expected at least 0")
        if weighting != "fixed" and weight != 1:
            raise FewshotError(
                f"task_augmentation.weight={weight} goes with task_augmentation.weighting=fixed alone; leave it out"
            )
        if blocks < 1:
            raise FewshotError(f"task_augmentation.blocks={blocks}; expected at least 1")
        if not temperature > 0:
            raise FewshotError(f"task_augmentation.temperature={temperature}; expected more than 0")
        if ramp and training_episodes is None:
            raise FewshotError(f"task_augmentation.ramp={ramp} needs training_episodes, how many there are; or use 0")
        self.eps, self.levels, self.weighting, self.weight = eps, (blocks,), weighting, weight
        self.beta = None if beta is None else checked_beta(beta)
        self.temperature, self.detach = temperature, detach
        self.ramp_episodes = ramp * (training_episodes or 0)
        self.register_buffer("pixel", 1 / torch.tensor(std or (1.0,)).reshape(-1, 1, 1), persistent=False)
        self.register_buffer("episodes_trained", torch.zeros((), dtype=torch.int64))

    def check(self, backbone: nn.Module, tasks: int | None = None) -> None:
        """Raise a FewshotError unless bounds can be carried through the backbone's first blocks."""
        super().check(backbone, tasks)
        mode = backbone.training
        backbone.eval()
        convolution = next(part for part in backbone.modules() if isinstance(part, nn.Conv2d))
        point = convolution.weight.new_zeros(1, convolution.in_channels, _TRIED, _TRIED)
        with torch.no_grad():
            self._bounds(backbone, Box(point, point, point))
        backbone.train(mode)

    def _bounds(self, backbone: nn.Module, box: Box) -> Box:
        for block in backbone.blocks[: self.levels[0]]:
            box = through(block, box)
        return box

    @property
    def reach(self) -> float:
        """Eps at this time of training."""
        share = float(self.episodes_trained) / self.ramp_episodes if self.ramp_episodes else 1.0
        return self.eps * min(1.0, share)

    def forward(self, episodes: Episodes, backbone: nn.Module, rng: np.random.Generator) -> NewTasks:
        """Image episodes to features of the tasks and of those in between, with the losses of their bounds."""
        (blocks,) = self.levels
        items = torch.cat([episodes.support.flatten(0, 1), episodes.query.flatten(0, 1)])
        # The same around every image.
        width = (self.reach * self.pixel.to(items.dtype)).expand_as(items[:1])
        self.episodes_trained += len(episodes) * processes()
        box = self._bounds(backbone, Box(items, width, width))
        features = _episodes_of(backbone.forward_from(blocks, box.point), episodes)
        bounds = torch.stack([_mean_square(box.above), _mean_square(box.below)])
        terms = ((1.0, features),)
        if self.beta is not None:
            moved = self._between(box, episodes, rng)
            with _statistics_kept(backbone):
                between = _episodes_of(backbone.forward_from(blocks, moved), episodes)
            terms = ((0.5, features), (0.5, between))
        return NewTasks(terms, lambda total: self._total(total, bounds))

    def _between(self, box: Box, episodes: Episodes, rng: np.random.Generator) -> Tensor:
        """The maps of all items, those of one task on the way to their bounds."""
        tasks, way = len(episodes), episodes.way
        beta, upper = rng.beta(*self.beta, size=way), rng.random(way) < 0.5
        steps = np.zeros((2, tasks, way))
        steps[:, rng.integers(tasks)] = np.where(upper, beta, 0), np.where(upper, 0, beta)
        steps = torch.from_numpy(steps).to(box.point)
        up, down = (
            torch.cat([part.gather(1, y).flatten() for y in (episodes.support_labels, episodes.query_labels)])
            for part in steps
        )
        shape = (-1,) + (1,) * (box.point.dim() - 1)
        return box.point + up.reshape(shape) * box.above - down.reshape(shape) * box.below

    def _total(self, task: Tensor, bounds: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        parts = {"upper_bound": bounds[0].detach(), "lower_bound": bounds[1].detach()}
        if self.weighting == "fixed":
            return task + self.weight * bounds.sum(), parts
        losses = torch.stack([task, *bounds])
        weights = ((losses.detach() if self.detach else losses) / self.temperature).softmax(0)
        return (weights * losses).sum(), parts | {"weight_of_task": weights[0].detach()}


def _mean_square(x: Tensor) -> Tensor:
    # 16 bits hold no sum of so many squares.
    return x.to(torch.promote_types(x.dtype, torch.float32)).square().mean()


def _episodes_of(features: Tensor, episodes: Episodes) -> Episodes:
    """Features of all support items, then of all queries, as episodes."""
    first = episodes.support_labels.numel()
    return episodes.with_items(
        features[:first].unflatten(0, episodes.support_labels.shape),
        features[first:].unflatten(0, episodes.query_labels.shape),
    )


@contextmanager
def _statistics_kept(backbone: nn.Module) -> Iterator[None]:
    """What BatchNorm remembers for tests is of the images as they are."""
    norms = [part for part in backbone.modules() if isinstance(part, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
