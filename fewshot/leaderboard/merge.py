"""One leaderboard of several machines' ones."""

from collections.abc import Sequence
from pathlib import Path

from fewshot.errors import FewshotError
from fewshot.leaderboard.table import COLUMNS, texts, write

# What makes two rows two tests: one may have been written by two versions, with other columns, or moved between machines.
_IDENTITY = (
    "when",
    "name",
    "config_hash",
    "head",
    "bank_fingerprint",
    "episodes_sha256",
    "accuracy",
    "ci95",
    "run",
    "failed",
)


def merge(sources: Sequence[Path | str], target: Path | str) -> tuple[int, int]:
    """Write the rows of all sources to a new file, each once, oldest first.

    Args:
        sources: leaderboards of any version.
        target: the new file, which must not be there.

    Returns:
        How many rows were written, and how many were there more than once.

    Raises:
        FewshotError: a source is no leaderboard or ends in half a row, two rows of one test disagree, or the target cannot
            be written.
    """
    columns, kept, twice = list(COLUMNS), {}, 0
    for source in sources:
        names, rows = texts(source)
        columns += [name for name in names if name not in columns]
        for number, row in enumerate(rows, start=1):
            key = tuple(row.get(name, "") for name in _IDENTITY)
            if key not in kept:
                kept[key] = row
                continue
            twice += 1
            both = kept[key]
            for name in row.keys() & both.keys():
                if row[name] != both[name] and row[name] and both[name]:
                    raise FewshotError(
                        f"row {number} of {source} and a row before it are one test, but {name} is {row[name][:40]!r} and "
                        f"{both[name][:40]!r}; find out which is true with fewshot-leaderboard verify"
                    )
            kept[key] = both | {name: value for name, value in row.items() if value}
    ordered = sorted(kept.values(), key=lambda row: row["when"])
    write(target, ordered, columns)
    return len(ordered), twice
