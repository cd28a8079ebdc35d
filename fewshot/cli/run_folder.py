"""Where a run writes: its folder, and the leaderboard."""

import re
import tempfile
from pathlib import Path

import numpy as np

from fewshot.errors import FewshotError
from fewshot.leaderboard.row import Row
from fewshot.leaderboard.table import read


def choose_run_folder(output: Path | str, name: str, digest: str, resume: bool) -> Path:
    """The folder `output/name-digest`, or with a number at its end where that is taken.

    Args:
        output: folder of all runs.
        name: of the run.
        digest: of its configuration; the first eight characters are used.
        resume: take the newest folder of this name and configuration, if there is one.

    Raises:
        FewshotError: the folder cannot be made.
    """
    output = Path(output)
    stem = f"{re.sub(r'[^A-Za-z0-9._+-]+', '-', name)}-{digest[:8]}"
    number = 1
    try:
        output.mkdir(parents=True, exist_ok=True)
        if resume:
            taken = [p for p in output.iterdir() if re.fullmatch(re.escape(stem) + r"(~\d+)?", p.name)]
            if taken:
                return max(taken, key=lambda p: int(p.name.partition("~")[2] or 1))
        while True:
            folder = output / (stem if number == 1 else f"{stem}~{number}")
            try:
                folder.mkdir()
            except FileExistsError:
                number += 1
            else:
                return folder
    except OSError as error:
        raise FewshotError(
            f"cannot make a run folder in {output}: {error.strerror or error}; set output= to a folder that can be written to"
        ) from error


def check_can_append(leaderboard: Path | str) -> None:
    """Raise a FewshotError now if a row could not be appended after hours of training."""
    path = Path(leaderboard)
    if path.exists():
        read(path)
    place = next(p for p in (path.resolve().parent, *path.resolve().parents) if p.exists())
    try:
        tempfile.TemporaryFile(dir=place).close()
    except OSError as error:
        raise FewshotError(f"cannot write {path}: {error.strerror or error}; set leaderboard=") from error


def has_row(leaderboard: Path | str, row: Row) -> bool:
    """Whether the leaderboard has a row of that run, by that head on those images and episodes."""
    if not Path(leaderboard).exists():
        return False
    table = read(leaderboard)
    same = [table[name] == getattr(row, name) for name in ("run", "bank_fingerprint", "head", "episodes_sha256")]
    return bool(np.logical_and.reduce(same).any())
