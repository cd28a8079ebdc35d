"""`fewshot-leaderboard`: look at the rows that runs have appended."""

import argparse
import os
import sys

from fewshot.cli.one_line_errors import one_line_errors

_PIPED_COLUMNS = 100


def main(argv: list[str] | None = None) -> int:
    """The console command `fewshot-leaderboard`; an error is one line on stderr and exit code 2."""
    parser = argparse.ArgumentParser(
        prog="fewshot-leaderboard", description="Look at the rows that runs have appended."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    show = commands.add_parser("show", help="rank the rows, one table for each question they answer")
    show.add_argument("--csv", default="leaderboard.csv", metavar="FILE", help="the leaderboard (default: %(default)s)")
    show.add_argument("--data", metavar="NAME", help="rows of this data set only")
    show.add_argument("--way", type=int, metavar="N", help="rows with this many classes only")
    show.add_argument("--shot", metavar="K", help="rows with this many shots only, such as 1, or 1,5,5 for each class")
    show.add_argument("--format", choices=("table", "markdown", "csv"), default="table", help="default: %(default)s")
    show.add_argument("--all-columns", action="store_true", help="every column; in a table one value a line")
    arguments = parser.parse_args(argv)
    with one_line_errors("fewshot-leaderboard"):
        _show(arguments)
    return 0


def _show(arguments: argparse.Namespace) -> None:
    # Imported here: `--help` must not wait for pandas.
    from rich.console import Console

    from fewshot.errors import FewshotError
    from fewshot.leaderboard.ranking import rank
    from fewshot.leaderboard.render import as_csv, markdown, print_records, print_tables
    from fewshot.leaderboard.table import read

    frame = read(arguments.csv)
    if frame.empty:
        raise FewshotError(f"{arguments.csv} has no rows yet; the command `fewshot` adds one")
    for column in ("data", "way", "shot"):
        wanted = getattr(arguments, column)
        if wanted is None:
            continue
        chosen = frame[frame[column] == wanted]
        if chosen.empty:
            has = ", ".join(map(str, frame[column].unique()))
            raise FewshotError(f"{arguments.csv} has no such rows with --{column} {wanted}, only {has}")
        frame = chosen
    ranked = rank(frame)
    # An output that cannot hold a letter gets its code instead of a traceback.
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    if arguments.format == "csv":
        print(as_csv(ranked, arguments.all_columns).removesuffix("\n"))
    elif arguments.format == "markdown":
        print(markdown(ranked, arguments.all_columns).removesuffix("\n"))
    else:
        width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else _PIPED_COLUMNS
        console = Console(file=sys.stdout, width=width, highlight=False)
        (print_records if arguments.all_columns else print_tables)(ranked, console)


if __name__ == "__main__":
    sys.exit(main())
