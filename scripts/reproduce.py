"""Makes a table of docs/reproduction.md anew: papers' figures beside ours, each with its command.

    python scripts/reproduce.py --list
    python scripts/reproduce.py omniglot_prototypical [--output runs/reproduce] [--only NAME] [KEY=VALUE ...]

Trains and tests by `fewshot` what `scripts/reproduce/tables.yaml` says, with further overrides behind (such as `trainer.threads=1` or fewer
episodes), each training in turn. What the leaderboard of the table has already is not made again, and a training that was
cut off goes on. Other overrides than `trainer.` have a folder of their own. Prints the table as Markdown and writes it beside the leaderboard;
--dry-run prints the commands alone.
"""

import argparse
import hashlib
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import yaml

from fewshot import Leaderboard
from fewshot.cli.one_line_errors import one_line_errors
from fewshot.errors import FewshotError
from fewshot.files import write_text
from fewshot.leaderboard.published import beside, published
from fewshot.training.training_run import BEST

UNTRAINED = "backbone=pixels"
TABLES = Path(__file__).parent / "reproduce" / "tables.yaml"


def run(arguments: list[str], dry: bool) -> None:
    """One `fewshot` command; it ends this script if it fails."""
    print(f"$ fewshot {shlex.join(arguments)}", flush=True)
    if not dry:
        code = subprocess.run([sys.executable, "-m", "fewshot.cli.main", *arguments], check=False).returncode
        if code:
            raise SystemExit(code)


def folder_of(name: str, options: argparse.Namespace) -> str:
    """The table's folder; what is asked for with other overrides is another table, not mixed with it."""
    others = sorted(text for text in [*options.overrides, *options.test] if not text.startswith("trainer."))
    return f"{name}-{hashlib.sha256(repr(others).encode()).hexdigest()[:8]}" if others else name


def make(table: dict, folder: Path, options: argparse.Namespace) -> None:
    """Run what the table asks for and is not there."""
    where = [f"output={folder}", f"leaderboard={folder / 'leaderboard.csv'}", "skip_existing=true"]
    first, *others = table["tests"]
    for training, overrides in table["trainings"].items():
        if options.only and training not in options.only:
            continue
        asked = [*table["common"], *overrides, *options.overrides, f"name={training}", *where]
        run([*asked, *first, "resume=true"], options.dry_run)
        best = sorted(folder.glob(f"{training}-????????/{BEST}"), key=lambda path: path.stat().st_mtime)
        if options.dry_run and not best and UNTRAINED not in asked:
            # The eight letters are a hash of the training's configuration.
            best = [folder / f"{training}-????????" / BEST]
        for test in [*others, *table.get("more", {}).get(training, ())]:
            if best:
                tested = [f"name={training}", *options.test, *where]
                run(["mode=test", f"checkpoint={best[-1]}", *test, *tested], options.dry_run)
            else:
                # Nothing was trained, so there are no weights to test.
                run([*asked, *test, *options.test], options.dry_run)


def lines_of(frame: pd.DataFrame, table: dict) -> list[str]:
    """The table in Markdown: a line for each row, with all published figures of its question and method."""
    papers = beside(frame, published())
    lines = [
        "| training | test | published | ours | difference |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    for training in table["trainings"]:
        rows = frame[frame["name"] == training]
        if rows.empty:
            lines.append(f"| {training} | not run | | | |")
        for _, row in rows.iterrows():
            known = papers[papers["row"] == row["row"]] if len(papers) else papers
            known = [] if known.empty else [line for _, line in known.iterrows()]
            theirs = "; ".join(f"{line['accuracy']:g} ({line['training'] or 'training not said'})" for line in known)
            off = "; ".join(
                f"{line['difference']:+.2f}{'' if line['agrees'] else ' (beyond 1 point)'}" for line in known
            )
            kind = f"{row['head']}, {row['way']}-way {row['shot']}-shot"
            kind += "" if row["imbalance"] == "none" else f", {row['imbalance']}"
            kind += ", transductive" if row["transductive"] else ""
            ours = f"{row['accuracy']:.2f} ± {row['ci95']:.2f}"
            lines.append(f"| {training} | {row['data']}, {kind} | {theirs} | {ours} | {off} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", nargs="?", help="one of --list")
    parser.add_argument("overrides", nargs="*", help="of every training, behind the table's own")
    parser.add_argument(
        "--test", action="append", default=[], metavar="KEY=VALUE", help="of every test of given weights"
    )
    parser.add_argument("--only", action="append", metavar="NAME", help="of a training; several times for several")
    parser.add_argument("--output", type=Path, default=Path("runs/reproduce"))
    parser.add_argument("--tables", type=Path, default=TABLES, help="a file like scripts/reproduce/tables.yaml")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--dry-run", action="store_true", help="print the commands")
    options = parser.parse_intermixed_args()
    try:
        tables = yaml.safe_load(options.tables.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise FewshotError(f"--tables {options.tables}: {' '.join(str(error).split())}") from error
    if options.list or not options.table:
        for name, table in tables.items():
            print(f"{name}: {table['says']}\n    {len(table['trainings'])} x {len(table['tests'])}; {table['budget']}")
        return
    if options.table not in tables:
        raise FewshotError(f"there is no table {options.table}; expected one of {', '.join(tables)}")
    table = tables[options.table]
    strange = set(options.only or ()) - set(table["trainings"])
    if strange:
        raise FewshotError(f"--only {min(strange)}: not in {options.table}; expected {', '.join(table['trainings'])}")
    folder = options.output / folder_of(options.table, options)
    make(table, folder, options)
    if options.dry_run:
        return
    lines = lines_of(Leaderboard(folder / "leaderboard.csv").rows, table)
    changes = " ".join([*options.overrides, *(f"--test {text}" for text in options.test)])
    budget = f"Budget: {table['budget']}." if not changes else f"With {changes}; without, {table['budget']}."
    text = "\n".join([f"{table['says']}. {budget}", "", *lines])
    write_text(folder / "table.md", text + "\n")
    print(f"\n{text}\n\nwritten to {folder / 'table.md'}")


if __name__ == "__main__":
    with one_line_errors("reproduce.py", "interrupted; the same command goes on where this one was"):
        main()
