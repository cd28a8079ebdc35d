"""Progress bars for work with image files."""

import contextlib
import sys
from collections.abc import Callable, Iterator

from fewshot.data.streaming import Report
from fewshot.screen import is_screen


@contextlib.contextmanager
def progress_bars() -> Iterator[Callable[[str], Report | None]]:
    """Yield what makes a bar of a text; nothing is drawn where standard error is no terminal."""
    if not is_screen(sys.stderr.isatty()):
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:

        def bar(text: str) -> Report:
            task = progress.add_task(text, total=None)
            return lambda done, total: progress.update(task, completed=done, total=total)

        yield bar
