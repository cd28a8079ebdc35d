"""`fewshot-leaderboard`: look at the rows that runs have appended, compare, check and repeat them."""

import argparse
import importlib
import sys

from fewshot import __version__
from fewshot.cli.one_line_errors import one_line_errors

_ROW = "a number as show gives it (-1 is the newest), conditions such as head=ridge,shot=1, or a name"


def main(argv: list[str] | None = None) -> int:
    """The console command `fewshot-leaderboard`; an error is one line on stderr and exit code 2.

    `verify` ends with exit code 1 if a row is wrong, `rerun` if the number differs.
    """
    arguments = _parser().parse_args(argv)
    with one_line_errors("fewshot-leaderboard"):
        # Imported here: `--help` must not wait for pandas.
        module = importlib.import_module(f"fewshot.cli.{arguments.module}")
        return getattr(module, arguments.command)(arguments) or 0
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fewshot-leaderboard",
        description="Look at the rows that runs have appended, compare, check and repeat them.",
    )
    parser.add_argument("--version", action="version", version=f"fewshot {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)

    def add(name: str, module: str, words: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=words, description=f"{words[0].upper()}{words[1:]}.")
        command.set_defaults(module=module)
        return command

    show = add("show", "leaderboard_tables", "rank the rows, one table for each question they answer")
    _choosing(show)
    show.add_argument(
        "--sort", action="append", metavar="COLUMN", help="order by this column instead, -COLUMN for the largest first"
    )
    show.add_argument(
        "--wide", action="store_true", help="methods down, questions across, the best of each column marked"
    )
    show.add_argument("--published", action="store_true", help="beside what papers report")
    show.add_argument(
        "--tolerance",
        type=float,
        default=1.0,
        metavar="POINTS",
        help="with --published: beyond both spreads (default: 1)",
    )
    show.add_argument(
        "--format", choices=("table", "markdown", "csv", "latex"), default="table", help="latex goes with --wide"
    )
    show.add_argument(
        "--failed",
        action="store_true",
        help="instead, jobs of sweeps that failed and have not succeeded since, and why",
    )
    show.add_argument("--all-columns", action="store_true", help="every column; in a table one value a line")

    rank = add("rank", "leaderboard_tables", "rank methods; those that no test tells apart share a rank")
    _choosing(rank)
    _testing(rank)
    rank.add_argument("--format", choices=("table", "markdown", "csv"), default="table", help="default: %(default)s")

    compare = add("compare", "leaderboard_tables", "the paired difference of two methods on the same episodes")
    compare.add_argument("first", metavar="A", help=f"{_ROW}; several rows are seeds of one method")
    compare.add_argument("second", metavar="B", nargs="+", help="the same; p-values of several are corrected (Holm)")
    _file(compare)
    _runs(compare)

    verify = add("verify", "leaderboard_files", "recompute each row from what its run left")
    _choosing(verify)
    _runs(verify)
    verify.add_argument("--banks", action="store_true", help="also open the images and draw the episodes again")

    merge = add("merge", "leaderboard_files", "one leaderboard of several, each row once")
    merge.add_argument("sources", metavar="FILE", nargs="+")
    merge.add_argument("--to", required=True, metavar="FILE", help="the new file")

    export = add("export", "leaderboard_files", "write a table: .csv, .md, .tex, or one .html page with pictures")
    export.add_argument("to", metavar="FILE")
    _choosing(export)
    _testing(export)
    export.add_argument("--title", default="Few-shot leaderboard", help="of the page")

    plot = add("plot", "leaderboard_files", "draw pictures")
    plot.add_argument(
        "kind", choices=("accuracy", "cost", "ranks", "shots"), help="ranks is the critical-difference diagram"
    )
    plot.add_argument("to", metavar="FILE", help="such as accuracy.png or accuracy.pdf")
    _choosing(plot)
    _runs(plot)

    rerun = add("rerun", "leaderboard_rerun", "do a row's run again and see whether the number is the same")
    rerun.add_argument("row", metavar="ROW", help=_ROW)
    rerun.add_argument("changes", metavar="KEY=VALUE", nargs="*", help="where things lie here, such as data.root=/data")
    _file(rerun)
    _runs(rerun)
    rerun.add_argument("--any-commit", action="store_true", help="also with other code than the row's")
    rerun.add_argument("--output", default="reruns", metavar="FOLDER", help="of the new run (default: %(default)s)")
    return parser


def _file(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--csv", default="leaderboard.csv", metavar="FILE", help="the leaderboard (default: %(default)s)"
    )


def _choosing(command: argparse.ArgumentParser) -> None:
    _file(command)
    command.add_argument("--data", metavar="NAME", help="rows of this data set only")
    command.add_argument("--way", type=int, metavar="N", help="rows with this many classes only")
    command.add_argument(
        "--shot", metavar="K", help="rows with this many shots only, such as 1, or 1,5,5 for each class"
    )
    command.add_argument(
        "--where",
        action="append",
        metavar="CONDITION",
        help="rows that meet it only: head=ridge, name!=x, backbone~conv, accuracy>50; may be given again",
    )


def _runs(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--runs",
        action="append",
        metavar="FOLDER",
        help="where run folders lie, if not where rows say; may be given again",
    )


def _testing(command: argparse.ArgumentParser) -> None:
    _runs(command)
    command.add_argument("--no-seeds", action="store_true", help="a line for each seed instead of one for each method")
    command.add_argument("--no-files", action="store_true", help="compare intervals of rows, not episodes of runs")
    command.add_argument("--level", type=float, default=0.05, help="of the corrected tests (default: %(default)s)")


if __name__ == "__main__":
    sys.exit(main())
