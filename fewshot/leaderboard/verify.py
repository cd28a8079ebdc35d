"""Recomputing rows from what their runs left."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from fewshot.errors import FewshotError
from fewshot.evaluation.accuracies import accuracies_sha256, load_accuracies
from fewshot.evaluation.intervals import mean_interval
from fewshot.leaderboard.row import SCHEMA
from fewshot.leaderboard.run_files import run_files

# Sums in another order may move the last digits.
_ROUNDING = 1e-9


@dataclass
class Verdict:
    """What checking one row found.

    Args:
        row: its number in the file, from 1.
        name: of the run.
        wrong: what does not agree.
        unchecked: what could not be looked at, and why.
        old: whether the row is of a version without the hash of its accuracies, so that another file of the same mean and
            interval would not be noticed.
    """

    row: int
    name: str
    wrong: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    old: bool = False


def verify(frame: pd.DataFrame, places: Iterable[Path] = ()) -> list[Verdict]:
    """Check each row against its run: the row the run wrote, its accuracies, and their hash.

    The row's own text must agree with `row*.json` in every column; accuracy and interval are computed anew from
    `test_accuracies*.npy`.

    Args:
        frame: rows as `fewshot.leaderboard.table.read` returns them.
        places: folders of runs to look in first.
    """
    places = list(places)
    return [
        _verdict(number, row, places)
        for number, row in zip(frame.index + 1, (row for _, row in frame.iterrows()), strict=True)
    ]


def _verdict(number: int, row: Mapping, places: list[Path]) -> Verdict:
    verdict = Verdict(number, str(row["name"]))
    if row["schema"] is not pd.NA and row["schema"] > SCHEMA:
        verdict.unchecked.append(f"columns of schema {row['schema']}: a newer fewshot wrote this row")
    try:
        files = run_files(row, places)
    except FewshotError as error:
        verdict.unchecked.append(str(error))
        return verdict
    for column in files.differing(row):
        verdict.wrong.append(f"{column} is {_short(row[column])}, the run wrote {_short(files.row[column])}")
    try:
        accuracies = load_accuracies(files.accuracies)
    except FewshotError as error:
        verdict.wrong.append(str(error))
        return verdict
    name = files.accuracies.name
    if not row["accuracies_sha256"]:
        verdict.old = True
    elif accuracies_sha256(accuracies) != row["accuracies_sha256"]:
        verdict.wrong.append(f"{name} is another file than the row's: its hash differs")
    if len(accuracies) != row["episodes"]:
        verdict.wrong.append(f"episodes is {row['episodes']}, {name} has {len(accuracies)}")
    mean, half_width = (100 * value for value in mean_interval(accuracies))
    recomputed = {"accuracy": mean, "ci95": half_width}
    if row["imbalance"] == "none":
        recomputed["macro_accuracy"] = mean
    for column, value in recomputed.items():
        if not (abs(row[column] - value) <= _ROUNDING or (math.isnan(row[column]) and math.isnan(value))):
            verdict.wrong.append(f"{column} is {float(row[column])!r}, {name} gives {value!r}")
    return verdict


def _short(value: object) -> str:
    # NumPy's numbers print with their type's name.
    text = repr(float(value)) if isinstance(value, float) else repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
