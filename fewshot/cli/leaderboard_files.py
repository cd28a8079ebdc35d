"""`fewshot-leaderboard verify`, `merge`, `export` and `plot`."""

import argparse
import sys
from pathlib import Path

import pandas as pd

from fewshot.cli.leaderboard_tables import ranked_lines
from fewshot.cli.open_board import make_console, open_board, places, read_board, reader_of_accuracies
from fewshot.errors import FewshotError
from fewshot.files import write_text


def verify(arguments: argparse.Namespace) -> int:
    """Exit code 1 if a row is wrong, 3 if none is wrong but some could not be checked."""
    from fewshot.leaderboard.table import read_failed
    from fewshot.leaderboard.verify import verify as verdicts

    frame, console, where = open_board(arguments), make_console(), places(arguments)
    found = verdicts(frame, where)
    for verdict, number in zip(found, frame["row"], strict=True):
        verdict.row = int(number)
    if arguments.banks:
        from fewshot.cli.leaderboard_banks import check_banks

        check_banks(frame, found, where)
    for verdict in found:
        for words, texts in (("WRONG", verdict.wrong), ("not checked", verdict.unchecked)):
            for text in texts:
                console.print(f"row {verdict.row} ({verdict.name}): {words}: {text}", markup=False, soft_wrap=True)
    wrong = sum(bool(verdict.wrong) for verdict in found)
    partly = sum(bool(verdict.unchecked) and not verdict.wrong for verdict in found)
    console.print(f"{len(found)} rows: {len(found) - wrong - partly} agree, {wrong} wrong, {partly} not wholly checked")
    failed = len(read_failed(arguments.csv))
    if failed:
        console.print(f"{failed} more are of jobs that failed and have no numbers")
    old = sum(verdict.old for verdict in found)
    if old:
        console.print(
            f"{old} are of a version without accuracies_sha256: their files are told by mean and interval alone"
        )
    return 1 if wrong else 3 if partly else 0


def merge(arguments: argparse.Namespace) -> int:
    from fewshot.leaderboard.merge import merge as merged

    for source in arguments.sources:
        read_board(source, or_failed=True)
    rows, twice = merged(arguments.sources, arguments.to)
    print(f"{rows} rows of {len(arguments.sources)} files in {arguments.to}, {twice} of them were there more than once")
    return 0


def export(arguments: argparse.Namespace) -> int:
    """The form of the file is that of its name's end."""
    path = Path(arguments.to)
    frame = open_board(arguments)
    kind = path.suffix.lower()
    if kind not in (".csv", ".md", ".tex", ".html"):
        raise FewshotError(f"{path}: expected a name that ends in .csv, .md, .tex or .html")
    if kind == ".tex":
        from fewshot.leaderboard.wide import wide_latex, wide_tables

        text = wide_latex(wide_tables(frame))
    else:
        lines = ranked_lines(frame, arguments)
        if kind == ".csv":
            text = lines.to_csv(index=False, lineterminator="\n")
        elif kind == ".md":
            from fewshot.leaderboard.render import markdown, short_ranks

            text = markdown(lines, shorten=short_ranks)
        else:
            from fewshot.leaderboard.page import page

            text = page(lines, _figures(frame, arguments), arguments.title, _remarks(frame))
    write_text(path, text)
    print(f"{len(frame)} rows in {path}")
    return 0


def plot(arguments: argparse.Namespace) -> int:
    """One picture, in the form of its name's end."""
    frame, path = open_board(arguments), Path(arguments.to)
    if path.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise FewshotError(f"{path}: expected a name that ends in .png, .pdf or .svg")
    figure = _figure(arguments.kind, frame, places(arguments))
    figure.save(path)
    print(f"drawn from {len(frame)} rows: {path}")
    return 0


def _figure(kind: str, frame: pd.DataFrame, where: list[Path]):
    from fewshot.leaderboard.drawing import draw

    return draw(frame, kind, reader_of_accuracies(where))


def _figures(frame: pd.DataFrame, arguments: argparse.Namespace) -> dict:
    captions = {
        "accuracy": "Accuracy with 95% intervals",
        "cost": "Accuracy against the cost of a test",
        "ranks": "Critical differences",
        "shots": "Accuracy over shots",
    }
    figures = {}
    for kind, caption in captions.items():
        try:
            figures[caption] = _figure(kind, frame, places(arguments))
        except FewshotError as error:
            # Few rows make no curve; the page says so where it is made.
            print(f"fewshot-leaderboard: left out {caption.lower()!r}: {error}", file=sys.stderr)
    return figures


def _remarks(frame: pd.DataFrame) -> str:
    commits = sorted({commit[:8] for commit in frame["git_commit"] if commit})
    return (
        f"{len(frame)} rows, {frame['when'].min()} to {frame['when'].max()}, commits {', '.join(commits) or 'unknown'}."
    )
