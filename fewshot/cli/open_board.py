"""Opening a leaderboard as the commands of `fewshot-leaderboard` ask for it."""

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from fewshot.errors import FewshotError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from rich.console import Console

_PIPED_COLUMNS = 100


def open_board(arguments: argparse.Namespace) -> "pd.DataFrame":
    """The rows that `--csv`, `--data`, `--way`, `--shot` and `--where` choose, with their numbers in the column `row`.

    Half a row at the end of the file is said on stderr.

    Raises:
        FewshotError: there is no leaderboard, it has no rows, or none that was asked for.
    """
    from fewshot.leaderboard.choose import rows_where

    frame = read_board(arguments.csv)
    for column in ("data", "way", "shot"):
        wanted = getattr(arguments, column, None)
        if wanted is None:
            continue
        chosen = frame[frame[column] == wanted]
        if chosen.empty:
            has = ", ".join(map(str, frame[column].unique()))
            raise FewshotError(f"{arguments.csv} has no such rows with --{column} {wanted}, only {has}")
        frame = chosen
    return rows_where(frame, getattr(arguments, "where", None) or [])


def read_board(path: str) -> "pd.DataFrame":
    """All rows of a file, with their numbers."""
    from fewshot.leaderboard.table import read

    frame = read(path)
    if frame.attrs["torn"]:
        torn = frame.attrs["torn"]
        print(
            f"fewshot-leaderboard: warning: {path} ends in half a row of {len(torn)} letters ({torn[:40]!a}), which is "
            "left out; mend that line",
            file=sys.stderr,
        )
    if frame.empty:
        raise FewshotError(f"{path} has no rows yet; the command `fewshot` adds one")
    frame["row"] = range(1, len(frame) + 1)
    return frame


def places(arguments: argparse.Namespace) -> list[Path]:
    """Where run folders are looked for before the places that rows name."""
    given = [Path(place) for place in arguments.runs or []]
    for place in given:
        if not place.is_dir():
            raise FewshotError(f"--runs {place} is no folder; give one that has run folders in it")
    return given


def reader_of_accuracies(where: list[Path]) -> Callable[[Mapping], "np.ndarray"]:
    """A row to its accuracies."""
    from fewshot.leaderboard.run_files import accuracies_of

    return lambda row: accuracies_of(row, where)


def make_console() -> "Console":
    """As wide as the terminal, or 100 columns where there is none."""
    from rich.console import Console

    # An output that cannot hold a letter gets its code instead of a traceback.
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else _PIPED_COLUMNS
    return Console(file=sys.stdout, width=width, highlight=False)
