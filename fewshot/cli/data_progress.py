"""Work with image files under progress bars."""

import contextlib
import sys
from collections.abc import Callable, Iterator

from rich.console import Console

from fewshot.data.bank import Bank
from fewshot.data.dataset import DataSet
from fewshot.data.streaming import Report
from fewshot.screen import is_screen


@contextlib.contextmanager
def progress_bars() -> Iterator[Callable[[str], Report | None]]:
    """Yield what makes a bar of a text; nothing is drawn where standard error is no terminal."""
    if not is_screen(sys.stderr.isatty()):
        yield lambda _: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:

        def bar(text: str) -> Report:
            task = progress.add_task(text, total=None)
            return lambda done, total: progress.update(task, completed=done, total=total)

        yield bar


def open_split(dataset: DataSet, split: str, console: Console) -> Bank:
    """The bank of a split; prepared first, which `console` hears of, if it was not."""
    if not dataset.is_prepared(split):
        console.print(f"preparing {dataset.name}/{split} in {dataset.folder(split)}")
        with progress_bars() as bars:
            dataset.prepare(split, report=bars(f"{dataset.name}/{split}"))
    return dataset.bank(split)
