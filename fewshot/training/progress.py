"""What a person sees while a learner trains: a bar on a terminal and in a notebook, plain lines elsewhere."""

import importlib.util
import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from fewshot.evaluation.accuracies import accuracy_text
from fewshot.screen import is_screen

_SECONDS_BETWEEN_LINES = 10.0


class TrainingProgress:
    """Shows loss, accuracy and episodes per second of a training run; a context manager.

    Args:
        total: episodes of the whole run.
        done: episodes behind us already, for a resumed run.
        enabled: False shows nothing (other ranks, notebooks that want silence).
        console: where to print.
        unit: what is counted, `episode` or `image`.
    """

    def __init__(
        self,
        total: int,
        done: int = 0,
        enabled: bool = True,
        console: Console | None = None,
        unit: str = "episode",
    ):
        self.total, self.start, self.enabled, self.unit = total, done, enabled, unit
        self.console = console or Console()
        self._bar = None
        # Without ipywidgets rich has no bar for a notebook but a warning.
        in_notebook = self.console.is_jupyter and importlib.util.find_spec("ipywidgets") is not None
        if enabled and (is_screen(self.console.is_terminal) or in_notebook):
            self._bar = Progress(
                TextColumn("meta-train" if unit == "episode" else "train"),
                BarColumn(),
                TaskProgressColumn(),
                TextColumn("{task.fields[text]}"),
                TimeRemainingColumn(),
                console=self.console,
            )
            self._task = self._bar.add_task("", total=total, completed=done, text="")

    def __enter__(self) -> "TrainingProgress":
        self._began = self._last_line = time.perf_counter()
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *error) -> None:
        if self._bar:
            self._bar.stop()

    def rate(self, done: int) -> float:
        """Episodes per second since the start of this process."""
        return (done - self.start) / max(time.perf_counter() - self._began, 1e-9)

    def tick(self, done: int) -> None:
        """Move the bar."""
        if self._bar:
            self._bar.update(self._task, completed=done)

    def row(self, row: dict) -> None:
        """Show a row of the training curve."""
        if not self.enabled:
            return
        done = row["episodes"]
        text = f"loss {row['loss']:.4f}  acc {row['train_accuracy']:.2f}%  {self.rate(done):.1f} {self.unit}s/s"
        validated = row.get("val_accuracy") is not None
        if self._bar:
            self._bar.update(self._task, completed=done, text=text)
        due = time.perf_counter() - self._last_line >= _SECONDS_BETWEEN_LINES
        if validated or (due and not self._bar) or (done >= self.total and not self._bar):
            self._last_line = time.perf_counter()
            if validated:
                best = "  best so far" if row.get("best") else ""
                text += f"  val {accuracy_text(row['val_accuracy'], row['val_ci95'])}%{best}"
            self.console.print(f"{self.unit} {done}/{self.total}  {text}", highlight=False, soft_wrap=True)

    def note(self, text: str) -> None:
        """Show a line of words."""
        if self.enabled:
            self.console.print(text, highlight=False, soft_wrap=True)
