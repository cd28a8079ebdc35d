"""Where a bar is shown, and where lines are."""

import io

import pytest
from rich.console import Console

from fewshot.training import progress
from fewshot.training.progress import TrainingProgress
from fewshot.training.result import TrainingResult

ROW = {"episodes": 10, "loss": 0.5, "train_accuracy": 80.0, "val_accuracy": 70.0, "val_ci95": 1.0, "best": 1}


@pytest.mark.parametrize(
    ("kind", "widgets", "bar"),
    [
        ({"force_terminal": True}, False, True),
        ({"force_terminal": False}, True, False),
        ({"force_jupyter": True}, True, True),
        ({"force_jupyter": True}, False, False),
    ],
    ids=["terminal", "file", "notebook", "notebook without widgets"],
)
def test_a_bar_is_where_it_can_be_drawn(kind, widgets, bar, monkeypatch):
    monkeypatch.setattr(progress.importlib.util, "find_spec", lambda name: object() if widgets else None)
    shown = TrainingProgress(10, console=Console(file=io.StringIO(), **kind))
    assert (shown._bar is not None) == bar
    assert TrainingProgress(10, enabled=False, console=Console(file=io.StringIO(), **kind))._bar is None


def test_a_file_gets_lines():
    out = io.StringIO()
    with TrainingProgress(10, console=Console(file=out, force_terminal=False)) as shown:
        shown.tick(10)
        shown.row(ROW)
    assert out.getvalue().startswith("episode 10/10  loss 0.5000  acc 80.00%")
    assert "val 70.00 ± 1.00%  best so far" in out.getvalue()


def test_what_training_left_says_which_weights_and_draws_its_curve():
    rows = [ROW | {"episodes": n, "val_accuracy": 60.0 + n, "learning_rate": 0.1} for n in (5, 10)]
    result = TrainingResult(rows, 10, 10, 70.0)
    assert "those after 10, validated at 70.00 %" in result._repr_html_()
    assert "nothing was validated" in repr(TrainingResult([], 0, 0, float("nan")))
    (loss, accuracy) = result.draw().axes
    assert loss.lines[0].get_xdata().tolist() == [5, 10]
    assert accuracy.lines[1].get_ydata().tolist() == [65.0, 70.0]


def test_the_terminal_of_a_notebooks_cell_gets_lines(monkeypatch):
    console = Console(file=io.StringIO(), force_terminal=True)
    monkeypatch.delenv("JPY_PARENT_PID", raising=False)
    assert TrainingProgress(10, console=console)._bar is not None
    monkeypatch.setenv("JPY_PARENT_PID", "1")
    assert TrainingProgress(10, console=console)._bar is None
