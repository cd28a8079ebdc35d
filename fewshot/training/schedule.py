"""Learning-rate schedules: a factor as a pure function of how many episodes are done.

They keep no state, so a resumed run needs nothing but the episode count.
"""

import math
from collections.abc import Callable, Sequence

from fewshot.errors import FewshotError

# Of the rate at first: what is trained at less does not move.
_NOTHING = 1e-9


def check_schedule(schedule: Callable[[int, int], float], total: int, unit: str) -> None:
    """Raise a FewshotError if a schedule leaves no learning rate before half of the training is done.

    Args:
        schedule: `(done, total) -> factor`.
        total: length of the training.
        unit: in which that is counted, for the message.
    """
    half = schedule(total // 2, total)
    if half < _NOTHING:
        raise FewshotError(
            f"{type(schedule).__name__} leaves {half:.0e} of the learning rate after {total // 2} of {total} {unit}; give it a longer "
            f"schedule.every (it counts {unit}), or use schedule=multistep, cosine or linear, whose length is that of training"
        )


def _check_factor(name: str, value: float) -> None:
    if not 0 <= value < math.inf:
        raise FewshotError(f"schedule.{name}={value}; expected at least 0")


class Constant:
    """The base learning rate throughout."""

    def __call__(self, done: int, total: int) -> float:
        """Factor on the base rate after `done` of `total` episodes."""
        return 1.0


class StepDecay:
    """Multiplied by `factor` every `every` episodes.

    Halving every 2000 episodes is Snell et al. (2017), section 3.1.
    """

    def __init__(self, every: int = 2000, factor: float = 0.5):
        if every < 1:
            raise FewshotError(f"schedule.every={every}; expected at least 1")
        _check_factor("factor", factor)
        self.every, self.factor = every, factor

    def __call__(self, done: int, total: int) -> float:
        """Factor on the base rate after `done` of `total` episodes."""
        return self.factor ** (done // self.every)


class MultiStep:
    """Multiplied by `factor` when so large a share of training is done.

    Args:
        at: shares of training in 0..1, such as [0.5, 0.75].
        factor: at each of them.
    """

    def __init__(self, at: Sequence[float] = (0.5, 0.75), factor: float = 0.1):
        if not all(0 < share < 1 for share in at):
            raise FewshotError(f"schedule.at={list(at)}; expected shares of training between 0 and 1")
        _check_factor("factor", factor)
        self.at, self.factor = tuple(at), factor

    def __call__(self, done: int, total: int) -> float:
        """Factor on the base rate after `done` of `total` episodes."""
        return self.factor ** sum(done >= share * total for share in self.at)


class Cosine:
    """Half a cosine wave from 1 to `final`, after a linear rise over the first `warmup` episodes."""

    def __init__(self, warmup: int = 0, final: float = 0.0):
        if warmup < 0:
            raise FewshotError(f"schedule.warmup={warmup}; expected at least 0")
        _check_factor("final", final)
        self.warmup, self.final = warmup, final

    def __call__(self, done: int, total: int) -> float:
        """Factor on the base rate after `done` of `total` episodes."""
        if done < self.warmup:
            return (done + 1) / self.warmup
        progress = min(1.0, (done - self.warmup) / max(1, total - self.warmup))
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * progress))


class Linear:
    """From 1 down to `final` in a straight line."""

    def __init__(self, final: float = 0.0):
        _check_factor("final", final)
        self.final = final

    def __call__(self, done: int, total: int) -> float:
        """Factor on the base rate after `done` of `total` episodes."""
        return 1 + (self.final - 1) * min(1.0, done / max(1, total))
