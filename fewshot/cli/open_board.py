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


def read_board(path: str, or_failed: bool = False) -> "pd.DataFrame":
    """All rows of a file that have numbers, with their places in the file in the column `row`.

    Half a row at the end of the file is said on stderr.

    Args:
        path: of the file.
        or_failed: whether rows of jobs that failed are enough, and there may be no others.

    Raises:
        FewshotError: there is no leaderboard, or it has no rows.
    """
    from fewshot.leaderboard.table import read, read_failed

    frame = read(path)
    if frame.attrs["torn"]:
        torn = frame.attrs["torn"]
        print(
            f"fewshot-leaderboard: warning: {path} ends in half a row of {len(torn)} letters ({torn[:40]!a}), which is "
            "left out; mend that line",
            file=sys.stderr,
        )
    failed = len(read_failed(path))
    if frame.empty and not (or_failed and failed):
        words = f"but {failed} of runs that failed, see fewshot-leaderboard show --failed" if failed else "yet"
        raise FewshotError(f"{path} has no rows {words}; the command `fewshot` adds one")
    return frame.assign(row=frame.index + 1).reset_index(drop=True)


def read_lasting_failures(path: str) -> "pd.DataFrame":
    """Rows of jobs that failed and have not succeeded since, the last one of each configuration, with the column `row`."""
    from fewshot.leaderboard.table import read, read_failed

    failed, done = read_failed(path), read(path)
    last = failed[~failed["config_hash"].duplicated(keep="last") | (failed["config_hash"] == "")]
    later = done.assign(place=done.index).groupby("config_hash")["place"].max()
    lasting = [later.get(digest, -1) < place for place, digest in last["config_hash"].items()]
    return last[lasting].assign(row=last.index[lasting] + 1)


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
