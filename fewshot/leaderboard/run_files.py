"""The files that a run left behind its row."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from fewshot.errors import FewshotError
from fewshot.evaluation.accuracies import load_accuracies
from fewshot.leaderboard.table import COLUMNS


@dataclass(frozen=True)
class RunFiles:
    """Where the files of one row lie.

    Args:
        folder: of the run.
        label: at the end of the names of its files, such as `-prototype`.
        row: what the run wrote of itself beside them.
    """

    folder: Path
    label: str
    row: dict

    @property
    def accuracies(self) -> Path:
        return self.folder / f"test_accuracies{self.label}.npy"

    @property
    def diagnostics(self) -> Path:
        return self.folder / f"diagnostics{self.label}.json"

    @property
    def config(self) -> Path:
        return self.folder / "config.yaml"

    def differing(self, row: Mapping) -> list[str]:
        """Columns in which a row of a table is not what the run wrote."""
        return [name for name in COLUMNS if name in self.row and not same_value(self.row[name], row.get(name))]


def run_folder(row: Mapping, places: Iterable[Path] = ()) -> Path:
    """The folder of a row's run: of its name in one of `places`, or where the row says.

    Raises:
        FewshotError: it is at none of them.
    """
    said = Path(str(row["run"]))
    tried = [Path(place) / said.name for place in places] + [said]
    for folder in tried:
        if str(row["run"]) and folder.is_dir():
            return folder
    raise FewshotError(
        f"the folder of run {row['name']} is not at {' or '.join(map(str, tried))}; say where runs lie with --runs"
    )


def run_files(row: Mapping, places: Iterable[Path] = ()) -> RunFiles:
    """The files of a row: of all tests of its run, those whose own row is most like it.

    Args:
        row: of a leaderboard.
        places: folders of runs to look in before the one that the row names.

    Raises:
        FewshotError: the folder is not there, or no file in it tells of a row.
    """
    folder = run_folder(row, places)
    found = []
    for path in sorted(folder.glob("row*.json")):
        try:
            written = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise FewshotError(f"{path} cannot be read: {error}; test again") from error
        if isinstance(written, dict):
            found.append(RunFiles(folder, path.stem.removeprefix("row"), written))
    if not found:
        raise FewshotError(f"{folder} has no row*.json; the run did not end, go on with it by resume=true")
    return min(found, key=lambda files: len(files.differing(row)))


def accuracies_of(row: Mapping, places: Iterable[Path] = ()) -> np.ndarray:
    """The accuracies `[episodes]` of a row, 0 to 1.

    Raises:
        FewshotError: they are not there, or are not those of the row.
    """
    files = run_files(row, places)
    found = load_accuracies(files.accuracies)
    if len(found) != row["episodes"] or abs(100 * float(found.mean()) - row["accuracy"]) > 1e-9:
        raise FewshotError(
            f"{files.accuracies} is not what row {row['name']} was made of; see fewshot-leaderboard verify"
        )
    return found


def same_value(one: object, other: object) -> bool:
    """Whether two cells say the same; what is missing is equal to what is missing."""
    missing = [value is None or value is pd.NA or value != value for value in (one, other)]
    return all(missing) if any(missing) else bool(one == other)
