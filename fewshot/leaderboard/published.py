"""Our rows beside what papers report."""

import math
from pathlib import Path

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fewshot.errors import FewshotError
from fewshot.evaluation.accuracies import accuracy_text
from fewshot.leaderboard.choose import conditions_of, rows_where
from fewshot.resources import manifests_folder

COLUMNS = (
    *("data", "split", "way", "shot", "query", "imbalance", "transductive", "method", "backbone", "training"),
    *("accuracy", "spread", "spread_of", "episodes", "source", "ours"),
)


def published(path: Path | None = None) -> pd.DataFrame:
    """The published results, all of them text but `accuracy` and `spread`.

    Args:
        path: of a CSV with the same columns; by default the one that comes with fewshot.

    Raises:
        FewshotError: it cannot be read, or lacks a column.
    """
    path = manifests_folder() / "published" / "results.csv" if path is None else path
    try:
        frame = pd.read_csv(path, dtype="str", keep_default_na=False)
    except (OSError, ValueError) as error:
        raise FewshotError(f"cannot read published results in {path}: {error}") from error
    lacking = [name for name in COLUMNS if name not in frame]
    if lacking:
        raise FewshotError(f"{path} lacks the columns {', '.join(lacking)}")
    try:
        return frame.assign(
            accuracy=pd.to_numeric(frame["accuracy"]),
            spread=pd.to_numeric(frame["spread"].where(frame["spread"] != "")),
        )
    except ValueError as error:
        raise FewshotError(f"{path} has an accuracy or a spread that is no number: {error}") from error


def beside(frame: pd.DataFrame, papers: pd.DataFrame, tolerance: float = 1.0) -> pd.DataFrame:
    """Each row that has a published counterpart, one line for each pair.

    A row agrees if it is no farther from the paper than both spreads allow (the root of the sum of their squares) and
    `tolerance` beyond that, for training has a variance of its own.

    Args:
        frame: rows as `fewshot.leaderboard.table.read` returns them, with the column `row`.
        papers: as `published` returns them.
        tolerance: percent points.

    Returns:
        The columns of `papers` and `row`, `name`, `head`, `our_accuracy`, `our_ci95`, `difference` (ours minus theirs),
        `allowed` and `agrees`; empty where nothing compares.
    """
    lines = []
    for _, paper in papers[papers["ours"] != ""].iterrows():
        same = frame[
            (frame["data"] == paper["data"])
            & (frame["way"].astype("str") == paper["way"])
            & (frame["shot"] == paper["shot"])
            & (frame["imbalance"] == paper["imbalance"])
            & (frame["transductive"].astype("str").str.lower() == str(paper["transductive"] == "yes").lower())
            & frame["accuracy"].notna()
        ]
        if paper["query"]:
            same = same[same["query"].astype("str") == paper["query"]]
        if same.empty:
            continue
        try:
            same = rows_where(same, conditions_of(paper["ours"]))
        except FewshotError:
            # No row of this method.
            continue
        for _, row in same.iterrows():
            spreads = [value for value in (paper["spread"], row["ci95"]) if not math.isnan(value)]
            allowed = math.hypot(*spreads, 0.0) + tolerance
            difference = row["accuracy"] - paper["accuracy"]
            ours = {"row": row["row"], "name": row["name"], "head": row["head"]}
            ours |= {"our_accuracy": row["accuracy"], "our_ci95": row["ci95"], "difference": difference}
            lines.append(dict(paper) | ours | {"allowed": allowed, "agrees": abs(difference) <= allowed})
    return pd.DataFrame(lines)


def print_beside(lines: pd.DataFrame, console: Console) -> None:
    """The pairs on the console, those beyond the tolerance marked."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for name in ("question", "method", "published", "ours", "difference", "agrees", "#", "name", "source"):
        number = name in ("published", "ours", "difference", "#")
        table.add_column(name, justify="right" if number else "left", no_wrap=number, overflow="fold")
    for _, line in lines.iterrows():
        training = f", trained {line['training']}" if line["training"] not in ("", "none") else ""
        cells = [
            f"{line['data']} {line['way']}-way {line['shot']}-shot ({line['split']})",
            f"{line['method']}{training}",
            accuracy_text(line["accuracy"], line["spread"]),
            accuracy_text(line["our_accuracy"], line["our_ci95"]),
            f"{line['difference']:+.2f}",
            "yes" if line["agrees"] else f"no, beyond {line['allowed']:.2f}",
            str(line["row"]),
            str(line["name"]),
            line["source"],
        ]
        table.add_row(*(Text(cell, style="" if line["agrees"] else "bold") for cell in cells))
    console.print(table)
