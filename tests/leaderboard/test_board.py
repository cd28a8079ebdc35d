"""A leaderboard in Python says what the commands say."""

import math
from io import StringIO

import numpy as np
import pandas as pd
import pytest

from fewshot.cli.leaderboard import main
from fewshot.errors import FewshotError
from fewshot.leaderboard.board import Leaderboard
from fewshot.leaderboard.drawing import KINDS


def test_rows_are_numbered_as_in_the_file_and_chosen_by_conditions(rows):
    board = Leaderboard(rows.path)
    assert len(board) == 7
    chosen = board.where("head=ridge", "shot=5")
    assert chosen.rows["row"].tolist() == [5]
    assert len(board) == 7, "the whole is as it was"
    with pytest.raises(FewshotError, match="no row with head=none"):
        board.where("head=none")
    with pytest.raises(FewshotError, match="there is no leaderboard"):
        Leaderboard(rows.folder / "other.csv")


def test_numbers_are_places_in_the_file_beside_jobs_that_failed(board, episodes, capsys):
    board.run(episodes(), run="a", head="prototype")
    board.run(episodes(), run="b", head="relation", failed="out of memory", accuracy=math.nan, ci95=math.nan)
    board.run(episodes(0.1, seed=2), run="c", head="ridge")
    mine = Leaderboard(board.path)
    assert mine.rows["row"].tolist() == [1, 3]
    assert mine.rank().lines["rows"].tolist() == ["3", "1"]
    difference = mine.compare(3, 1).to_frame()["difference"][0]
    assert main(["compare", "3", "1", "--csv", str(board.path)]) == 0
    assert f"{difference:+.3f}" in capsys.readouterr().out
    with pytest.raises(FewshotError, match="there is no row 2"):
        mine.compare(2, 1)


def test_ranks_are_those_of_the_command(rows, capsys):
    assert main(["rank", "--csv", str(rows.path), "--format", "csv"]) == 0
    expected = pd.read_csv(StringIO(capsys.readouterr().out))
    lines = Leaderboard(rows.path).rank().lines
    assert lines["rank"].tolist() == expected["rank"].tolist()
    np.testing.assert_allclose(lines["p"], expected["p"])
    np.testing.assert_allclose(lines["behind"], expected["behind"])


def test_a_comparison_is_that_of_the_command(rows, capsys, cells):
    found = Leaderboard(rows.path).compare("head=matching,shot=1", "head=ridge,shot=1", 1)
    frame = found.to_frame()
    assert frame["test"].tolist() == ["paired", "paired"]
    assert main(["compare", "head=matching,shot=1", "head=ridge,shot=1", "1", "--csv", str(rows.path)]) == 0
    said = capsys.readouterr().out
    for line in frame.itertuples():
        assert f"{line.difference:+.3f} ± {line.ci95:.3f} points" in said
    (table,) = cells(found._repr_html_())
    assert [row[2] for row in table[1:]] == [f"{x.difference:+.2f} ± {x.ci95:.2f}" for x in frame.itertuples()]


def test_what_cannot_be_compared_is_said(rows):
    board = Leaderboard(rows.path)
    with pytest.raises(FewshotError, match="cannot be paired: they differ in shot"):
        board.compare(1, 4)
    with pytest.raises(FewshotError, match="means 2 rows of 2 methods"):
        board.compare("head=ridge", 1)
    with pytest.raises(FewshotError, match="needs a second method"):
        board.compare(1)


def test_runs_that_moved_are_found_where_they_are_said_to_be(rows):
    rows.runs.rename(rows.folder / "elsewhere")
    with pytest.raises(FewshotError, match="not at"):
        Leaderboard(rows.path).compare(1, 2)
    assert Leaderboard(rows.path, [rows.folder / "elsewhere"]).compare(1, 2).to_frame()["test"].tolist() == ["paired"]


def test_a_notebook_sees_a_table_for_each_question_and_no_name_becomes_html(rows, cells):
    board = Leaderboard(rows.path)
    for shown in (board, board.rank()):
        text = shown._repr_html_()
        assert sorted(len(table) - 1 for table in cells(text)) == [1, 3, 3]
        assert any(rows.nasty in row for table in cells(text) for row in table)
        assert rows.nasty not in text
    with open(rows.path, "a") as file:
        file.write("half a row")
    assert "half a row" in Leaderboard(rows.path)._repr_html_()


@pytest.mark.parametrize("kind", KINDS)
def test_every_picture_is_a_figure_that_a_notebook_shows(rows, kind):
    assert Leaderboard(rows.path).draw(kind)._repr_png_().startswith(b"\x89PNG")


def test_a_picture_that_there_is_not_is_one_line(rows):
    with pytest.raises(FewshotError, match="no picture 'pie'; expected one of accuracy, cost, ranks, shots"):
        Leaderboard(rows.path).draw("pie")
