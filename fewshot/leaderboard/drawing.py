"""The pictures of a leaderboard, by their names."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from fewshot.errors import FewshotError

if TYPE_CHECKING:
    from fewshot.figure import ShownFigure

KINDS = ("accuracy", "cost", "ranks", "shots")


def draw(frame: pd.DataFrame, kind: str, accuracies: Callable[[Mapping], np.ndarray]) -> "ShownFigure":
    """One picture.

    Args:
        frame: rows as `fewshot.leaderboard.table.read` returns them.
        kind: `accuracy` with intervals, accuracy against `cost`, `ranks` (critical differences), or accuracy over `shots`.
        accuracies: a row's accuracies, or a FewshotError.

    Raises:
        FewshotError: no such kind, or rows that make no such picture.
    """
    if kind not in KINDS:
        raise FewshotError(f"no picture {kind!r}; expected one of {', '.join(KINDS)}")
    if kind == "ranks":
        from fewshot.leaderboard.critical_difference import draw_mean_ranks
        from fewshot.leaderboard.rank_blocks import ranks_of_rows

        return draw_mean_ranks(*ranks_of_rows(frame, accuracies))
    from fewshot.leaderboard import plots

    return {"accuracy": plots.draw_accuracies, "cost": plots.draw_cost, "shots": plots.draw_shots}[kind](frame)
