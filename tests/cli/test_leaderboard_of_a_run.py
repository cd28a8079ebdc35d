"""Rows that the command `fewshot` makes, verified, repeated and diagnosed."""

import json

import pytest

from fewshot.cli import leaderboard_rerun
from fewshot.cli.leaderboard import main
from fewshot.leaderboard.table import read


@pytest.fixture
def trained(fewshot):
    """A run that was trained and tested, and its test by two heads."""
    assert fewshot("unbalanced=null") == 0
    return fewshot


def test_a_run_is_verified_with_its_images_and_repeated(trained, tmp_path, capsys, monkeypatch):
    (checkpoint,) = tmp_path.glob("runs/*/best.safetensors")
    # One without a pathname on its right, as `SMALL` gives it, and options that only its command line had.
    assert (
        trained(
            "mode=test",
            f"checkpoint={checkpoint}",
            "heads=[own,ridge]",
            "name=two",
            "unbalanced=null",
            "diagnostics=true",
            "episodes.test.way=4",
            without=("episodes.train.query=3", "experiment=debug"),
        )
        == 0
    )
    frame = read("leaderboard.csv")
    assert len(frame) == 3
    assert set(frame["schema"]) == {3}
    capsys.readouterr()
    assert main(["verify", "--banks"]) == 0
    assert "3 rows: 3 agree" in capsys.readouterr().out

    monkeypatch.setattr(leaderboard_rerun, "git_state", lambda: ("", False))
    with pytest.raises(SystemExit) as stop:
        main(["rerun", "1"])
    assert stop.value.code == 2
    assert "check out that commit, or say --any-commit" in capsys.readouterr().err
    for row in ("1", "name=two,head=ridge"):
        assert main(["rerun", row, "--any-commit"]) == 0
        assert ": the same" in capsys.readouterr().out
    assert len(read("leaderboard.csv")) == 3, "a repeated run adds no row"

    told = json.loads(next(tmp_path.glob("runs/two-*/diagnostics-ridge.json")).read_text())
    right, queries = (sum(line[name] for line in told["classes"]) for name in ("right", "queries"))
    assert 100 * right / queries == pytest.approx(frame["accuracy"][2])
    assert next(tmp_path.glob("runs/two-*/diagnostics-own.png")).read_bytes().startswith(b"\x89PNG")
    assert main(["compare", "2", "3"]) == 0
    assert "classes drawn anew" in capsys.readouterr().out

    # Another configuration than the row's is not run.
    config = next(tmp_path.glob("runs/two-*/config.yaml"))
    config.write_text(config.read_text().replace("    way: 4", "    way: 3"))
    with pytest.raises(SystemExit):
        main(["rerun", "2", "--any-commit"])
    assert "has the hash" in capsys.readouterr().err


def test_another_bank_is_found(trained, tmp_path, capsys):
    frame = read("leaderboard.csv")
    content = (tmp_path / "leaderboard.csv").read_text()
    other = "0" * 64
    for path in [tmp_path / "leaderboard.csv", *tmp_path.glob("runs/*/row.json")]:
        path.write_text(path.read_text().replace(frame["bank_fingerprint"][0], other))
    capsys.readouterr()
    assert main(["verify"]) == 0, "row and run agree"
    assert main(["verify", "--banks"]) == 1
    out = capsys.readouterr().out
    assert f"bank_fingerprint is {other[:16]}, the images give {frame['bank_fingerprint'][0][:16]}" in out
    (tmp_path / "leaderboard.csv").write_text(content)
    assert main(["verify"]) == 1


def test_diagnostics_must_be_true_or_false(fewshot, capsys):
    assert fewshot("diagnostics=some") == 2
    assert "diagnostics=some; expected true or false" in capsys.readouterr().err
