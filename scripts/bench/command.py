"""What the command lines of benchmarks share."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from fewshot.cli.one_line_errors import one_line_errors


def count(text: str) -> int:
    """An argument that is a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}; expected a whole number of at least 1")
    return int(text)


def add_folders(parser: argparse.ArgumentParser) -> None:
    """Where data lie: `--root` and `--prepared`, by default where `fewshot` looks."""
    data = os.environ.get("FEWSHOT_DATA", "data")
    parser.add_argument("--root", default=f"{data}/raw")
    parser.add_argument("--prepared", default=f"{data}/prepared")


def run(main: Callable[[], None]) -> None:
    """`main`; errors of fewshot and an interruption become one line."""
    with one_line_errors(Path(sys.argv[0]).name):
        main()
