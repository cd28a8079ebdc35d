"""Rows of jobs that failed stand in the file and in no table, rank or test."""

import math

import pytest

from fewshot.cli.leaderboard import main
from fewshot.leaderboard.merge import merge
from fewshot.leaderboard.ranking import rank
from fewshot.leaderboard.table import append, read, read_failed
from fewshot.leaderboard.verify import verify

NOTHING = {"way": None, "query": None, "seed": None, "episodes": None, "test_seed": None}


def failed(board, reason="RuntimeError: out of memory", **changes):
    import dataclasses

    from fewshot.leaderboard.row import Row

    values = {f.name: f.type() if isinstance(f.type, type) else None for f in dataclasses.fields(Row)}
    numbers = dict.fromkeys(("accuracy", "ci95", "macro_accuracy", "seconds", "episodes_per_second"), math.nan)
    row = Row(**values | numbers | {"name": "broken", "failed": reason, "when": "2026-01-02T00:00:00+00:00"} | changes)
    append(board.path, row)


@pytest.fixture
def mixed(board, episodes):
    """Rows 1, 3 and 5 have numbers; 2 and 4 failed."""
    board.run(episodes(0.02), "a", name="a", config_hash="aa")
    failed(board, config_hash="xx", **NOTHING)
    board.run(episodes(seed=2), "b", name="b", config_hash="bb")
    failed(board, 'ValueError: "no, never"', config_hash="yy")
    board.run(episodes(-0.02, seed=3), "c", name="c", config_hash="xx")
    return board


def test_they_are_read_apart_and_change_no_type_of_the_others(mixed):
    frame = read(mixed.path)
    assert list(frame["name"]) == ["a", "b", "c"]
    assert list(frame.index) == [0, 2, 4]
    assert frame["way"].dtype == frame["seed"].dtype == "int64"
    assert list(read_failed(mixed.path)["failed"]) == ["RuntimeError: out of memory", 'ValueError: "no, never"']


def test_numbers_of_rows_are_places_in_the_file(mixed):
    assert list(rank(read(mixed.path))["row"]) == [1, 3, 5]
    assert [verdict.row for verdict in verify(read(mixed.path))] == [1, 3, 5]


def test_commands_go_on_as_if_they_were_not_there(mixed, capsys, tmp_path):
    csv = ("--csv", str(mixed.path))
    assert main(["rank", *csv]) == 0
    assert main(["compare", "1", "3", "-1", *csv]) == 0
    assert "row 5: c" in capsys.readouterr().out
    assert main(["verify", *csv]) == 0
    assert "3 rows: 3 agree" in (out := capsys.readouterr().out)
    assert "2 more are of jobs that failed" in out
    for name in ("all.csv", "all.md", "all.tex", "all.html"):
        assert main(["export", str(tmp_path / name), *csv]) == 0
        assert "broken" not in (tmp_path / name).read_text()
    assert main(["plot", "accuracy", str(tmp_path / "a.png"), *csv]) == 0


def test_a_number_of_one_is_no_row(mixed, capsys):
    with pytest.raises(SystemExit):
        main(["compare", "1", "2", "--csv", str(mixed.path)])
    assert "no row 2; rows are numbered 1 to 5; of these 2, 4 failed" in capsys.readouterr().err


def test_show_counts_those_that_did_not_succeed_since_and_lists_them(mixed, capsys):
    assert main(["show", "--csv", str(mixed.path)]) == 0
    assert "1 job of sweeps failed" in capsys.readouterr().out
    assert main(["show", "--failed", "--csv", str(mixed.path)]) == 0
    out = capsys.readouterr().out
    assert "no, never" in out
    assert "out of memory" not in out
    assert "row 4" in out


def test_merging_keeps_each_once(mixed, tmp_path):
    target = tmp_path / "merged.csv"
    assert merge([mixed.path, mixed.path], target) == (5, 5)
    assert len(read(target)) == 3
    assert sorted(read_failed(target)["failed"]) == sorted(read_failed(mixed.path)["failed"])


def test_a_board_of_failures_alone_says_so_and_can_be_merged(board, tmp_path, capsys):
    failed(board)
    with pytest.raises(SystemExit):
        main(["show", "--csv", str(board.path)])
    assert "no rows but 1 of runs that failed" in capsys.readouterr().err
    assert main(["merge", str(board.path), "--to", str(tmp_path / "merged.csv")]) == 0
    assert len(read_failed(tmp_path / "merged.csv")) == 1
