"""The blocks of a critical-difference diagram: questions if there are enough, else the episodes of one question."""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from fewshot.errors import FewshotError
from fewshot.leaderboard.critical_difference import LEAST_BLOCKS, MeanRanks, mean_ranks
from fewshot.leaderboard.entries import Entry, entries
from fewshot.leaderboard.methods import METHOD, method_names
from fewshot.leaderboard.ranking import rank
from fewshot.leaderboard.render import question


def ranks_of_rows(frame: pd.DataFrame, accuracies: Callable[[Mapping], np.ndarray]) -> tuple[MeanRanks, str]:
    """Mean ranks of the methods that all blocks have, and a title that says what a block is.

    Where the methods of rows that answer six or more questions are the same, a block is a question. Otherwise it is an
    episode of the one question that most methods answered on the same episodes; then pairs are told apart by signed ranks
    with Holm's correction, and that covers no more than new episodes of that question.

    Args:
        frame: rows as `fewshot.leaderboard.table.read` returns them.
        accuracies: a row's accuracies, or a FewshotError.

    Raises:
        FewshotError: neither can be had.
    """
    groups = [group[group["accuracy"].notna()] for _, group in rank(frame).groupby("group", sort=True)]
    by_question = [{_key(entry): entry for entry in entries(group, None, True)} for group in groups]
    common = set.intersection(*map(set, by_question)) if len(by_question) >= LEAST_BLOCKS else set()
    if len(common) > 1:
        keys = sorted(common)
        values = np.array([[found[key].mean for key in keys] for found in by_question])
        title = f"mean ranks over {len(values)} questions, Nemenyi at 0.05"
        return mean_ranks(values, _names([by_question[0][key] for key in keys])), title
    best: list[Entry] = []
    # Of questions with equally many methods, that of even queries.
    groups.sort(key=lambda group: group["imbalance"].iloc[0] != "none")
    for group in groups:
        for _, same in group.groupby(["episodes_sha256", "bank_fingerprint"], sort=False):
            found = [entry for entry in entries(same, accuracies, True) if entry.values is not None]
            best = found if len(found) > len(best) else best
    if len(best) < 2:
        raise FewshotError(
            f"a critical-difference diagram needs {LEAST_BLOCKS} questions that the same methods answered, or two methods "
            "whose runs have their accuracies of the same episodes"
        )
    values = np.stack([entry.values.mean(axis=0) for entry in best], axis=1)
    row = best[0].first
    title = f"{question(row)}\nmean ranks over {len(values)} episodes, signed ranks with Holm at 0.05 (covers new episodes only)"
    return mean_ranks(values, _names(best), test="wilcoxon"), title


def _key(entry: Entry) -> tuple[str, ...]:
    # A run's name and the shots it was trained with may say the question, which is not the method.
    return tuple(str(entry.first[name]) for name in METHOD if name not in ("name", "train_protocol", "train_data"))


def _names(found: list[Entry]) -> list[str]:
    return [name[:48] for name in method_names(pd.DataFrame([entry.first for entry in found]))]
