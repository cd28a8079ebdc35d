"""Only rows that answered the same question are ranked against each other, and ties are said to be ties."""

import dataclasses
import math

import pandas as pd
import pytest

from fewshot.leaderboard.ranking import rank
from fewshot.leaderboard.row import Row
from fewshot.leaderboard.table import COLUMNS, append, read

QUESTION = {
    "data": "glyphs",
    "split": "test",
    "pipeline": "28",
    "way": 5,
    "shot": "1",
    "query": 15,
    "imbalance": "none",
    "pretraining": "none",
    "bank_fingerprint": "bank",
    "episodes_sha256": "tasks",
}


def a_row(**changes) -> Row:
    values = {field.name: field.type() if isinstance(field.type, type) else None for field in dataclasses.fields(Row)}
    return Row(**values | QUESTION | changes)


@pytest.fixture
def ranked(tmp_path):
    def of(*rows: Row) -> pd.DataFrame:
        for row in rows:
            append(tmp_path / "board.csv", row)
        return rank(read(tmp_path / "board.csv"))

    return of


def scores(*pairs) -> list[Row]:
    return [a_row(name=f"{mean}", accuracy=mean, ci95=half) for mean, half in pairs]


@pytest.mark.parametrize(
    ("pairs", "ranks"),
    [
        ([(90, 1), (80, 1), (70, 1)], ["1", "2", "3"]),
        ([(90, 1), (89, 1), (70, 1)], ["1-2", "1-2", "3"]),
        # Each overlaps its neighbour, but the first and the last are apart.
        ([(90, 1), (88.5, 1), (87, 1)], ["1-2", "1-3", "2-3"]),
        # A wide interval ties with all, and the narrow ones still differ.
        ([(90, 0.1), (85, 20), (80, 0.1)], ["1-2", "1-3", "2-3"]),
        ([(90, 1), (88, 1)], ["1-2", "1-2"]),
        ([(100, 0), (100, 0), (99, 0)], ["1-2", "1-2", "3"]),
        ([(50, 1)], ["1"]),
    ],
)
def test_ranks_are_the_places_that_the_intervals_leave_open(ranked, pairs, ranks):
    frame = ranked(*reversed(scores(*pairs)))
    assert list(frame["accuracy"]) == [mean for mean, _ in pairs]
    assert list(frame["rank"]) == ranks
    assert list(frame["group"]) == [1] * len(pairs)


def test_a_row_without_an_interval_comes_last_and_moves_nobody(ranked):
    frame = ranked(*scores((100, math.nan), (90, 1), (80, 1)))
    assert list(frame["accuracy"]) == [90, 80, 100]
    assert list(frame["rank"]) == ["1", "2", "-"]
    assert list(frame["note"]) == ["", "", "no interval"]


@pytest.mark.parametrize(
    "change",
    [
        {"data": "omniglot"},
        {"split": "val"},
        {"pipeline": "84"},
        {"way": 20},
        {"shot": "5"},
        {"shot": "1,1,1,1,1"},
        {"query": 5},
        {"imbalance": "dirichlet(2)"},
        {"transductive": True},
        {"pretraining": "imagenet1k (leaks novel classes)"},
        {"side_information": "class names (all-MiniLM-L6-v2, 'a photo of a {class}')"},
    ],
)
def test_another_question_is_another_group(ranked, change):
    frame = ranked(a_row(accuracy=90.0, ci95=1.0), a_row(accuracy=99.0, ci95=1.0, **change))
    assert sorted(frame["group"]) == [1, 2]
    assert list(frame["rank"]) == ["1", "1"]


@pytest.mark.parametrize(
    "change",
    [
        {"head": "cosine"},
        {"seed": 7},
        {"pretraining": "omniglot"},
        {"train_protocol": "x"},
        {"side_information": "none"},
    ],
)
def test_the_same_question_is_one_group(ranked, change):
    frame = ranked(a_row(accuracy=90.0, ci95=1.0), a_row(accuracy=99.0, ci95=1.0, **change))
    assert list(frame["group"]) == [1, 1]


def test_groups_stand_in_the_order_of_their_numbers(ranked):
    frame = ranked(*(a_row(way=way, shot=shot) for way in (20, 5) for shot in ("10", "5", "1,5")))
    assert list(zip(frame["way"], frame["shot"], strict=True)) == [
        (way, shot) for way in (5, 20) for shot in ("1,5", "5", "10")
    ]


def test_rows_that_are_not_paired_with_the_best_say_why(ranked):
    frame = ranked(
        a_row(name="best", accuracy=90.0, ci95=1.0),
        a_row(name="same", accuracy=89.0, ci95=1.0),
        a_row(name="tasks", accuracy=88.0, ci95=1.0, episodes_sha256="others"),
        a_row(name="bank", accuracy=87.0, ci95=1.0, bank_fingerprint="other", episodes_sha256="others"),
        a_row(name="silent", accuracy=86.0, ci95=1.0, bank_fingerprint=""),
        a_row(name="single", accuracy=85.0, ci95=math.nan, episodes_sha256="others"),
    )
    assert dict(zip(frame["name"], frame["note"], strict=True)) == {
        "best": "",
        "same": "",
        "tasks": "other episodes",
        "bank": "other images",
        "silent": "images or episodes not recorded",
        "single": "other episodes, no interval",
    }


def test_no_row_is_lost_and_nothing_but_four_columns_is_added(ranked):
    frame = ranked(*(a_row(name=str(i), data=str(i % 3), accuracy=float(i), ci95=1.0) for i in range(30)))
    assert list(frame.columns) == ["group", "rank", "note", "row", *COLUMNS]
    assert sorted(frame["name"], key=int) == [str(i) for i in range(30)]
    assert list(frame.index) == list(range(30))


def test_rows_of_an_older_version_and_no_rows_at_all_are_ranked(ranked, tmp_path):
    old = tmp_path / "board.csv"
    old.write_text("when,name,data,accuracy,ci95,episodes_sha256\nthen,a,glyphs,90,1,x\nthen,b,glyphs,95,1,x\n")
    frame = ranked(a_row(accuracy=99.0, ci95=1.0))
    old_rows = frame[frame["when"] == "then"]
    assert list(old_rows["name"]) == ["b", "a"]
    assert list(old_rows["rank"]) == ["1", "2"]
    assert frame["group"].nunique() == 2
    empty = rank(read(old).iloc[:0])
    assert list(empty.columns) == ["group", "rank", "note", "row", *COLUMNS]
    assert empty.empty
