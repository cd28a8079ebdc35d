"""`trainer.devices=2` on the command line: one row, the same test, one line where something is wrong."""

import pytest

from fewshot.leaderboard.table import read

from .conftest import TRAIN_ONLY, only_run

TWO = "trainer.devices=2"


def test_two_processes_test_as_one_does_and_leave_one_row(fewshot, tmp_path, capfd):
    assert fewshot("mode=train", "training.tasks_per_step=2", TWO) == 0
    folder = only_run(tmp_path)
    assert {path.name for path in folder.iterdir()} >= {"best.safetensors", "last.safetensors", "metrics.csv"}
    out = capfd.readouterr().out
    assert out.count("run runs/") == 1, "one process prints"
    test = ("mode=test", f"checkpoint={folder / 'best.safetensors'}", "heads=[own,ridge]", "unbalanced=null")
    assert fewshot(*test, TWO, without=TRAIN_ONLY) == 0
    assert fewshot(*test, without=TRAIN_ONLY) == 0
    rows = read("leaderboard.csv")
    assert rows["device"].tolist() == ["2 of cpu x1"] * 2 + ["cpu x1"] * 2
    assert rows["accuracies_sha256"].tolist()[:2] == rows["accuracies_sha256"].tolist()[2:]
    assert rows["accuracies_sha256"].nunique() == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("head.temperature=-1.0",), "head.temperature=-1.0; expected more than 0"),
        (("training.tasks_per_step=1",), "training.tasks_per_step=1 for 2 devices; use a multiple of 2"),
    ],
)
def test_what_cannot_be_is_one_line(fewshot, tmp_path, capfd, words, said):
    assert fewshot("training.tasks_per_step=2", TWO, *words) == 2
    err = capfd.readouterr().err
    assert err == f"fewshot: error: {said}\n"
    assert not (tmp_path / "runs").exists()
