"""docs/extending.md, followed literally: its files in an empty folder, its commands as they stand."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fewshot.leaderboard.table import read

PAGE = (Path(__file__).parents[2] / "docs/extending.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"```(?:python|yaml)\n# (\S+)\n(.*?)```", PAGE, flags=re.DOTALL))
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, flags=re.DOTALL) for line in block.splitlines()]
# The same commands with less to do.
SHORT = "episodes.train.episodes=20 episodes.val.episodes=10 episodes.test.episodes=20 trainer.threads=1 trainer.accelerator=cpu"


@pytest.fixture
def folder(tmp_path):
    for name, content in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return tmp_path


def test_the_page_has_a_head_and_a_learner():
    assert set(FILES) == {"mine.py", "conf/head/nearest.yaml", "learning.py", "conf/learner/leave_one_out.yaml"}
    assert len(COMMANDS) == 2


def test_its_commands_make_rows_of_what_was_added(folder):
    for command in COMMANDS:
        variable, program, *arguments = shlex.split(command)
        assert (variable, program) == ("PYTHONPATH=.", "fewshot")
        done = subprocess.run(
            [sys.executable, "-m", "fewshot.cli.main", *arguments, *SHORT.split()],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": "."},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    rows = read(folder / "leaderboard.csv")
    assert rows["head"].tolist() == ["Nearest", "Nearest"]
    assert rows.learner.tolist() == ["metric_learner", "LeaveOneOut(temperature=2)"]
    # Trained for moments, and still no guess among five.
    assert rows.accuracy.min() > 30


def test_the_learner_is_what_the_page_says(folder, monkeypatch):
    monkeypatch.syspath_prepend(folder)
    from learning import LeaveOneOut

    from fewshot import Episodes, PrototypeHead

    class Plain(torch.nn.Flatten):
        feature_size = 6

    support, query = torch.randn(1, 4, 1, 2, 3), torch.randn(1, 6, 1, 2, 3)
    labels, query_labels = torch.tensor([[0, 0, 1, 1]]), torch.tensor([[1, 0, 1, 0, 0, 1]])
    episodes = Episodes(support, labels, query, query_labels, torch.tensor([[5, 7]]))
    found = LeaveOneOut(Plain(), PrototypeHead(), temperature=3.0).training_loss(episodes)
    x, y = torch.cat([support, query], 1)[0].flatten(1), torch.cat([labels, query_labels], 1)[0]
    total = 0.0
    for i in range(10):
        rest = torch.arange(10) != i
        means = torch.stack([x[rest & (y == c)].mean(0) for c in range(2)])
        total -= (-(x[i] - means).square().sum(1) / 3).log_softmax(0)[y[i]] / 10
    torch.testing.assert_close(found.total, total)
