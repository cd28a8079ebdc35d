"""The folder of a run: where it is, and what a later command finds in it."""

import re
from pathlib import Path

from fewshot.errors import FewshotError

ROW = "row.json"


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
        raise FewshotError(f"cannot make a run folder in {output}: {error.strerror or error}; set output= to a folder that can be written to") from error
