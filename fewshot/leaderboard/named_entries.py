"""The methods that a person means, compared on their common tasks."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from fewshot.errors import FewshotError
from fewshot.evaluation.paired import check_same_tasks, holm
from fewshot.leaderboard.choose import rows_named
from fewshot.leaderboard.entries import Comparison, Entry, compare, entries


class NamedComparison(NamedTuple):
    """One method against another.

    Args:
        first: the first method.
        other: what it was compared with.
        comparison: first minus other.
        corrected_p: its p-value, corrected for all comparisons that were asked for (Holm).
    """

    first: Entry
    other: Entry
    comparison: Comparison
    corrected_p: float


def compare_named(
    board: pd.DataFrame, first: str, others: Sequence[str], accuracies: Callable[[Mapping], np.ndarray]
) -> list[NamedComparison]:
    """One method against others, paired episode by episode.

    Args:
        board: all rows of a leaderboard in their order, with the column `row`.
        first: a row's number, conditions such as `head=ridge,shot=1`, or a name; several rows are seeds of one method.
        others: the same.
        accuracies: a row's accuracies `[episodes]`, 0 to 1, or a FewshotError.

    Raises:
        FewshotError: nothing or several methods are meant, accuracies are missing, or tasks or seeds differ: it says which.
    """
    one, rest = _meant(board, first, accuracies), [_meant(board, text, accuracies) for text in others]
    for other in rest:
        names = (f"row {one.numbers}", f"row {other.numbers}")
        check_same_tasks(one.first, other.first, names)
        if len(one.seeds) + len(other.seeds) > 2 and one.seeds != other.seeds:
            raise FewshotError(
                f"{names[0]} has the seeds {one.seeds}, {names[1]} {other.seeds}; give rows of the same seeds"
            )
    found = [compare(one, other) for other in rest]
    corrected = holm([comparison.p for comparison in found])
    return [NamedComparison(one, *parts) for parts in zip(rest, found, map(float, corrected), strict=True)]


def _meant(board: pd.DataFrame, text: str, accuracies: Callable[[Mapping], np.ndarray]) -> Entry:
    rows = rows_named(board, text)
    found = entries(rows, accuracies, join_seeds=True)
    if len(found) > 1:
        some = "; ".join(
            f"{row['row']}: {row['head']}, {row['shot']}-shot, seed {row['seed']}" for _, row in rows.head(6).iterrows()
        )
        raise FewshotError(f"{text!r} means {len(rows)} rows of {len(found)} methods ({some}); name one by its number")
    if found[0].values is None:
        raise FewshotError(found[0].missing)
    return found[0]
