"""The training curve: rows in a CSV, in TensorBoard and in a picture."""

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING

from fewshot.files import write_text

if TYPE_CHECKING:
    from fewshot.figure import ShownFigure


class TrainingCurve:
    """Writes rows of numbers along training.

    `metrics.csv` holds nothing that depends on the clock, so a run that was killed and resumed
    leaves the same bytes as one that was not.

    Args:
        folder: where `metrics.csv` and `tensorboard/` go; None writes nothing.
        rows: what an interrupted run had recorded; anything in the files beyond that is dropped.
    """

    def __init__(self, folder: Path | None = None, rows: list[dict] | None = None):
        rows = rows or []
        self._started = bool(rows)
        self._csv = folder / "metrics.csv" if folder else None
        self._board = None
        if folder:
            from torch.utils.tensorboard import SummaryWriter

            last = rows[-1]["episodes"] if rows else 0
            self._board = SummaryWriter(folder / "tensorboard", purge_step=last + 1)
            write_text(self._csv, csv_text(rows, header=True))

    def add(self, row: dict, **clocked: float) -> None:
        """Record a row; `clocked` numbers (episodes per second) go to TensorBoard only."""
        if self._csv:
            with open(self._csv, "a", encoding="utf-8", newline="") as file:
                file.write(csv_text([row], header=not self._started))
            self._started = True
            for name, value in {**row, **clocked}.items():
                if name not in ("episodes", "best") and value is not None:
                    self._board.add_scalar(name, value, row["episodes"])

    def close(self) -> None:
        if self._board:
            self._board.close()


def csv_text(rows: list[dict], header: bool) -> str:
    """Rows of equal keys as lines of a CSV."""
    if not rows:
        return ""
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(rows[0]), lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def draw_curve(rows: list[dict], path: Path | str | None = None, title: str = "") -> "ShownFigure":
    """Draw loss and accuracies over episodes.

    Args:
        rows: of a training curve.
        path: of a PNG to write; None writes none.
        title: over both panels.
    """
    from fewshot.figure import ShownFigure

    figure = ShownFigure(figsize=(8, 3.2), layout="constrained")
    loss, accuracy = figure.subplots(1, 2)
    episodes = [row["episodes"] for row in rows]
    loss.plot(episodes, [row["loss"] for row in rows], color="tab:blue")
    # Regularisers such as uniformity are negative.
    positive = all(row["loss"] > 0 for row in rows)
    loss.set(xlabel="episodes", ylabel="meta-training loss", yscale="log" if positive else "linear")
    accuracy.plot(episodes, [row["train_accuracy"] for row in rows], color="tab:blue", alpha=0.6, label="meta-training")
    validated = [row for row in rows if row.get("val_accuracy") is not None]
    if validated:
        accuracy.errorbar(
            [row["episodes"] for row in validated],
            [row["val_accuracy"] for row in validated],
            yerr=[row["val_ci95"] for row in validated],
            color="tab:orange",
            marker=".",
            capsize=2,
            label="validation classes, 95% interval",
        )
    accuracy.set(xlabel="episodes", ylabel="accuracy (%)")
    accuracy.legend(loc="lower right", frameon=False)
    for axes in (loss, accuracy):
        axes.grid(alpha=0.3)
    figure.suptitle(title, fontsize=10)
    if path is not None:
        figure.save(path, dpi=120)
    return figure
