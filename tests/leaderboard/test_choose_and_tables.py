"""Rows chosen, sorted, put side by side and written in every form."""

import csv
import io
import re

import numpy as np
import pandas as pd
import pytest

from fewshot.cli.leaderboard import main
from fewshot.errors import FewshotError
from fewshot.leaderboard.choose import rows_named, rows_where, sorted_by
from fewshot.leaderboard.published import COLUMNS, beside, published
from fewshot.leaderboard.table import read
from fewshot.leaderboard.wide import latex_escaped, wide_latex, wide_markdown, wide_tables


@pytest.fixture
def frame(board, episodes):
    for place, (head, shot, better) in enumerate(
        [("prototype", "1", 0.0), ("ridge(regularisation=1.0, features=l2n)", "1", 0.05), ("prototype", "5", 0.2)]
    ):
        board.run(episodes(better), run=f"run-{place}", head=head, shot=shot, config_hash=f"{place}abcdef", way=5)
    board.run(episodes(-0.1), run="joint", head="tim", shot="1", transductive=True, name="joint_50%")
    return read(board.path)


@pytest.mark.parametrize(
    ("conditions", "rows"),
    [
        (["head=prototype"], [0, 2]),
        (["head!=prototype"], [1, 3]),
        (["head~RIDGE"], [1]),
        (["head!~ridge", "shot=1"], [0, 3]),
        (["accuracy>70"], [2]),
        (["way=5.0", "way>=5", "way<=5"], [0, 1, 2, 3]),
        (["transductive=True"], [3]),
        (["transductive=false", "accuracy<60.5"], [0]),
        ([], [0, 1, 2, 3]),
    ],
)
def test_conditions_choose(frame, conditions, rows):
    assert list(rows_where(frame, conditions).index) == rows


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("nothing", "expected such as head=ridge"),
        ("colour=red", "no column colour"),
        ("head=svm", "no row with head=svm; head is prototype, ridge"),
        ("head>3", "compares numbers"),
        ("accuracy>high", "compares numbers"),
    ],
)
def test_conditions_that_cannot_be_met_say_why(frame, condition, words):
    with pytest.raises(FewshotError, match=re.escape(words)):
        rows_where(frame, [condition])


def test_rows_are_named_by_number_condition_name_folder_and_hash(frame):
    for text, rows in (
        ("1", [0]),
        ("-1", [3]),
        ("head=prototype,shot=5", [2]),
        ("head=ridge(regularisation=1.0, features=l2n),shot=1", [1]),
        ("joint_50%", [3]),
        ("run-1", [1]),
        ("2abcdef", [2]),
    ):
        assert list(rows_named(frame, text).index) == rows
    for text in ("0", "5", "-5", "run-9"):
        with pytest.raises(FewshotError):
            rows_named(frame, text)


def test_rows_are_sorted_by_several_columns(frame):
    assert list(sorted_by(frame, ["shot", "-accuracy"]).index) == [1, 0, 3, 2]
    with pytest.raises(FewshotError, match="no column colour"):
        sorted_by(frame, ["colour"])


def test_show_filters_sorts_and_says_the_number_of_a_row(board, frame, capsys):
    csv_of = ["--csv", str(board.path), "--format", "csv"]
    assert main(["show", *csv_of, "--where", "shot=1", "--where", "transductive=false", "--sort", "accuracy"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["#"] for row in rows] == ["1", "2"]
    with pytest.raises(SystemExit):
        main(["show", "--csv", str(board.path), "--format", "latex"])
    assert "goes with --wide" in capsys.readouterr().err


def test_a_wide_table_marks_the_best_of_each_column(frame):
    inductive, transductive = wide_tables(frame)
    assert (inductive.kind, transductive.kind) == ("inductive", "transductive")
    assert list(inductive.cells["head"]) == ["ridge(regularisation=1.0, features=l2n)", "prototype"]
    questions = [name for name in inductive.cells if name != "head"]
    assert questions == ["1-shot", "5-shot"]
    assert inductive.cells.loc[0, "5-shot"] == ""
    assert inductive.best[questions].to_numpy().tolist() == [[True, False], [False, True]]
    text = wide_markdown([inductive])
    assert text.count("**") == 2 + 2 * 2
    ridge = frame["accuracy"][1]
    assert f"**{ridge:.2f} ± " in text


def test_latex_is_balanced_and_escaped(frame):
    text = wide_latex(wide_tables(frame))
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == text.count(r"\toprule") == 2
    for block in re.findall(r"\\midrule\n(.*?)\\bottomrule", text, flags=re.DOTALL):
        widths = {line.count(" & ") for line in block.strip().splitlines()}
        assert len(widths) == 1
    assert r"joint\_50\%" in text
    assert text.count("{") == text.count("}")
    assert latex_escaped(r"a_b\c ± 50% {x} ~^#$&") == (
        r"a\_b\textbackslash{}c $\pm$ 50\% \{x\} \textasciitilde{}\textasciicircum{}\#\$\&"
    )


@pytest.mark.parametrize("kind", ["csv", "md", "tex", "html"])
def test_export_writes_every_form(board, frame, tmp_path, capsys, kind):
    target = tmp_path / f"board.{kind}"
    assert main(["export", str(target), "--csv", str(board.path)]) == 0
    text = target.read_text()
    assert "prototype" in text
    assert f"{frame['accuracy'][1]:.2f}" in text or repr(float(frame["accuracy"][1])) in text
    with pytest.raises(SystemExit):
        main(["export", str(tmp_path / "board.xls"), "--csv", str(board.path)])
    assert "ends in .csv, .md, .tex or .html" in capsys.readouterr().err


def test_every_published_figure_has_a_source_and_can_be_looked_for(frame):
    papers = published()
    assert list(papers.columns) == list(COLUMNS)
    assert (papers["source"] != "").all()
    assert papers["accuracy"].between(1, 100).all()
    assert not papers.drop(columns=["accuracy", "spread", "ours"]).duplicated().any()
    frame = frame.assign(row=range(1, len(frame) + 1))
    for conditions in papers["ours"].unique():
        for condition in conditions.split(",") if conditions else []:
            assert condition.partition("=")[0].partition("~")[0].rstrip("!") in frame.columns


def test_rows_stand_beside_their_papers_with_a_tolerance(board, episodes, capsys):
    omniglot = {"data": "omniglot", "train_protocol": "5-way 1-shot 15-query"}
    near = board.run(np.random.default_rng(0).binomial(75, 0.974, 300) / 75, run="near", **omniglot)
    board.run(episodes(0.2), run="far", name="far", **omniglot)
    board.run(episodes(0.38), run="uneven", imbalance="dirichlet(2)", **omniglot)
    board.run(episodes(0.38), run="other", head="ridge", **omniglot)
    board.run(episodes(0.38), run="shots", shot="9", **omniglot)
    papers = published()
    lines = beside(read(board.path).assign(row=range(1, 6)), papers)
    assert list(lines["row"]) == [1, 2]
    assert set(lines["accuracy"]) == {97.4}
    assert lines["difference"][0] == pytest.approx(near.accuracy - 97.4)
    assert lines["allowed"][0] == pytest.approx(near.ci95 + 1)
    assert list(lines["agrees"]) == [True, False]
    command = ["show", "--published", "--csv", str(board.path)]
    assert main(command) == 1
    assert "1 of 2 agree" in capsys.readouterr().out
    assert main([*command, "--tolerance", "50"]) == 0
    assert main([*command, "--where", "name!=far", "--format", "markdown"]) == 0
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main([*command, "--where", "head=ridge"])
    assert "no row here has a published counterpart" in capsys.readouterr().err


def test_a_published_file_that_lacks_a_column_or_has_no_numbers_is_refused(tmp_path):
    papers = published()
    papers.drop(columns="source").to_csv(tmp_path / "a.csv", index=False)
    pd.concat([papers, papers.head(1).astype("str").assign(accuracy="high")]).to_csv(tmp_path / "b.csv", index=False)
    for name, words in (("a.csv", "lacks the columns source"), ("b.csv", "no number"), ("c.csv", "cannot read")):
        with pytest.raises(FewshotError, match=words):
            published(tmp_path / name)
