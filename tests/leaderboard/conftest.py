"""Leaderboards with the folders of their runs."""

import dataclasses
import json

import numpy as np
import pytest

from fewshot.evaluation.accuracies import accuracies_sha256, save_accuracies
from fewshot.evaluation.intervals import mean_interval
from fewshot.leaderboard.row import Row
from fewshot.leaderboard.table import append

_USUAL = {
    "when": "2026-01-01T00:00:00+00:00",
    "name": "run",
    "data": "glyphs",
    "split": "test",
    "pipeline": "28",
    "bank_fingerprint": "bank",
    "backbone": "conv4",
    "pretraining": "none",
    "learner": "metric_learner",
    "head": "prototype",
    "loss": "cross_entropy",
    "train_protocol": "5-way 1-shot 15-query",
    "way": 5,
    "shot": "1",
    "query": 15,
    "imbalance": "none",
    "ci_type": "t",
    "device": "cpu x1",
    "precision": "32",
    "seconds": 2.0,
}


class Board:
    """Writes rows as a run does."""

    nasty = '<script>alert("x")</script> & <b>&amp;'

    def __init__(self, folder):
        self.folder, self.path, self.runs = folder, folder / "leaderboard.csv", folder / "runs"

    def run(self, accuracies, run="run", label="", path=None, **changes) -> Row:
        accuracies = np.asarray(accuracies, dtype=np.float64)
        mean, half_width = mean_interval(accuracies)
        values = {f.name: f.type() if isinstance(f.type, type) else None for f in dataclasses.fields(Row)} | _USUAL
        values |= {"accuracy": 100 * mean, "ci95": 100 * half_width, "macro_accuracy": 100 * mean}
        values |= {"episodes": len(accuracies), "episodes_sha256": f"tasks of {len(accuracies)}", "schema": 2}
        values |= {"accuracies_sha256": accuracies_sha256(accuracies), "run": str(self.runs / run)} | changes
        row = Row(**values)
        save_accuracies(self.runs / run / f"test_accuracies{label}.npy", accuracies)
        (self.runs / run / f"row{label}.json").write_text(json.dumps(dataclasses.asdict(row)))
        append(path or self.path, row)
        return row


@pytest.fixture
def board(tmp_path):
    return Board(tmp_path)


@pytest.fixture
def episodes():
    """Accuracies of learners that find the same 300 episodes hard, as shares of 75 queries."""
    hard = np.random.default_rng(0).normal(0.6, 0.09, 300)

    def of(better: float = 0.0, seed: int = 1) -> np.ndarray:
        rng = np.random.default_rng(seed)
        return rng.binomial(75, np.clip(hard + better, 0, 1)) / 75

    return of


@pytest.fixture
def rows(board, episodes):
    """Three inductive methods of two shots under a name that is no HTML, and one that is transductive."""
    for shot in ("1", "5"):
        for place, head in enumerate(("prototype", "ridge", "matching")):
            better = 0.05 * place + 0.02 * int(shot)
            board.run(episodes(better, seed=place + 5), run=f"{head}{shot}", head=head, shot=shot, name=board.nasty)
    board.run(episodes(), run="joint", head="tim", transductive=True)
    return board
