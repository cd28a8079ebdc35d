"""`fewshot-leaderboard` as it is typed."""

import csv
import dataclasses
import io
import math
import os
import subprocess
import sys

import pytest
from rich.cells import cell_len
from rich.console import Console

from fewshot.cli.leaderboard import main
from fewshot.evaluation.accuracies import accuracy_text
from fewshot.leaderboard.ranking import rank
from fewshot.leaderboard.render import print_tables
from fewshot.leaderboard.row import Row
from fewshot.leaderboard.table import COLUMNS, append, read

USUAL = {
    "data": "glyphs",
    "split": "test",
    "pipeline": "28",
    "way": 5,
    "shot": "1",
    "query": 15,
    "imbalance": "none",
    "pretraining": "none",
    "learner": "metric_learner",
    "head": "prototype",
    "backbone": "conv4",
    "train_protocol": "5-way 1-shot 15-query",
    "episodes": 10000,
    "bank_fingerprint": "bank",
    "episodes_sha256": "tasks",
}


def a_row(**changes) -> Row:
    values = {field.name: field.type() if isinstance(field.type, type) else None for field in dataclasses.fields(Row)}
    return Row(**values | USUAL | changes)


@pytest.fixture
def board(tmp_path, monkeypatch):
    """A leaderboard in the working directory, under the name that the command looks for."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)
    rows = [
        a_row(name="glyphs-prototype-conv4-5w1s", accuracy=98.1234, ci95=0.1511, seed=-987),
        a_row(
            name="[red]naïve|name[/red]\nwith, more",
            head="prototype(distance=cosine)",
            backbone="conv4(width=128)",
            accuracy=97.9,
            ci95=0.2,
            episodes_sha256="other",
        ),
        a_row(name="untrained", train_protocol="", accuracy=60.0, ci95=math.nan, episodes=1),
        a_row(name="twenty", way=20, shot="5", accuracy=90.5, ci95=0.3),
        a_row(name="jointly", transductive=True, data="omniglot", accuracy=99.5, ci95=0.05),
    ]
    for row in rows:
        append("leaderboard.csv", row)
    return tmp_path / "leaderboard.csv"


def shown(capsys, *arguments) -> str:
    assert main(["show", *arguments]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def refused(capsys, *arguments) -> str:
    with pytest.raises(SystemExit) as caught:
        main(["show", *arguments])
    captured = capsys.readouterr()
    assert caught.value.code == 2
    assert captured.out == ""
    assert captured.err.startswith("fewshot-leaderboard: error: ")
    assert captured.err.count("\n") == 1
    return captured.err


def test_the_table_fits_100_columns_with_every_number(board, capsys):
    text = shown(capsys)
    assert max(cell_len(line) for line in text.splitlines()) <= 100
    for number in ("98.12 ± 0.15", "97.90 ± 0.20", "60.00", "90.50 ± 0.30", "99.50 ± 0.05", "-987", "10000", "1-2"):
        assert number in text
    assert "…" not in text
    second = next(line for line in text.splitlines() if "97.90" in line)
    assert second.split()[-1] == "other", "the note: other episodes"
    assert "[red]" in text, "a name is no markup"
    headlines = [line.strip() for line in text.splitlines() if "-way" in line and "/" in line]
    assert headlines == [
        "glyphs/test (28) 5-way 1-shot 15-query, inductive",
        "glyphs/test (28) 20-way 5-shot 15-query, inductive",
        "omniglot/test (28) 5-way 1-shot 15-query, transductive",
    ]


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 200])
def test_narrow_terminals_lose_columns_and_say_so_but_no_number(board, width):
    out = io.StringIO()
    print_tables(rank(read(board)), Console(file=out, width=width, highlight=False))
    text = out.getvalue()
    assert max(cell_len(line.rstrip()) for line in text.splitlines()) <= max(width, 45)
    assert "…" not in text
    for whole in ("98.12 ± 0.15", "97.90 ± 0.20", "60.00", "untrained", "jointly"):
        assert whole in text
    assert ("no room for" in text) == (width < 100)
    assert ("-987" in text) == ("seed" not in text.partition("no room for")[2])


@pytest.mark.parametrize("width", [20, 60, 100, 200])
def test_rows_that_knew_more_than_images_stand_apart_and_say_what(board, width):
    for text in ("class names (ngrams, '{class}')", "attributes of the data set"):
        append(board, a_row(name=text[:6], side_information=text, accuracy=99.9, ci95=0.1))
    out = io.StringIO()
    print_tables(rank(read(board)), Console(file=out, width=width, highlight=False))
    text = out.getvalue()
    assert "glyphs/test (28) 5-way 1-shot 15-query, inductive, with side information" in " ".join(text.split())
    assert text.index("98.12") < text.index("with side"), "behind those that knew images alone"
    said = "class names (ngrams, '{class}')" in text
    assert said or width < 200
    assert said or width > 20 or "no room for" in text


def test_the_terminal_says_how_wide_it_is(board, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    assert max(map(cell_len, shown(capsys).splitlines())) <= 60


def test_rows_are_chosen_by_data_way_and_shot(board, capsys):
    for arguments, name in (
        (["--data", "omniglot"], "jointly"),
        (["--way", "20"], "twenty"),
        (["--shot", "5"], "twenty"),
    ):
        rows = list(csv.DictReader(io.StringIO(shown(capsys, "--format", "csv", *arguments))))
        assert [row["name"] for row in rows] == [name]
    assert "--way 7, only 5, 20" in refused(capsys, "--way", "7")


def test_markdown_has_one_table_a_group_and_escapes(board, capsys):
    lines = shown(capsys, "--format", "markdown").splitlines()
    assert lines[0] == "**glyphs/test (28) 5-way 1-shot 15-query, inductive**"
    assert lines[2].startswith("| rank | accuracy % | episodes | name |")
    assert lines[4].startswith("| 1-2 | 98.12 ± 0.15 | 10000 | glyphs-prototype-conv4-5w1s |")
    assert "| [red]naïve\\|name[/red] with, more |" in lines[5]
    assert sum(line.startswith("**") for line in lines) == 3
    assert len({line.replace("\\|", "").count("|") for line in lines if line.startswith("|")}) == 1


def test_csv_of_the_short_columns(board, capsys):
    rows = list(csv.DictReader(io.StringIO(shown(capsys, "--format", "csv"))))
    assert [row["accuracy %"] for row in rows[:3]] == ["98.12 ± 0.15", "97.90 ± 0.20", "60.00"]
    assert rows[2]["trained on"] == "nothing"
    assert rows[1]["note"] == "other episodes"


def test_all_columns_in_every_format(board, capsys):
    append(board, a_row(name="old\rmac", data="omniglot", accuracy=100 / 3, ci95=1.0))
    rows = list(csv.DictReader(io.StringIO(shown(capsys, "--format", "csv", "--all-columns"), newline="")))
    assert list(rows[0]) == ["group", "rank", "note", "row", *COLUMNS]
    mac = next(row for row in rows if row["name"] == "old\rmac")
    assert float(mac["accuracy"]) == 100 / 3
    assert rows[1]["name"] == "[red]naïve|name[/red]\nwith, more"
    header = shown(capsys, "--format", "markdown", "--all-columns").splitlines()[0]
    assert header == "| " + " | ".join(["group", "rank", "note", "row", *COLUMNS]) + " |"
    text = shown(capsys, "--all-columns")
    assert all(sum(line.startswith(f"{name} ") for line in text.splitlines()) == 6 for name in COLUMNS)
    assert max(map(cell_len, text.splitlines())) <= 100
    assert "98.1234" in text


def test_an_absent_an_empty_and_a_foreign_file_are_one_line(board, capsys):
    assert "no leaderboard at nowhere.csv; the command `fewshot` makes one" in refused(capsys, "--csv", "nowhere.csv")
    header = board.read_text().splitlines()[0]
    (board.parent / "empty.csv").write_text(header + "\n")
    assert "empty.csv has no rows yet" in refused(capsys, "--csv", "empty.csv")
    (board.parent / "foreign.csv").write_text("a,b\n1,2\n")
    assert "foreign.csv is not a leaderboard" in refused(capsys, "--csv", "foreign.csv")


@pytest.mark.parametrize(("accuracy", "ci95", "text"), [(98.1249, 0.1451, "98.12 ± 0.15"), (100.0, math.nan, "100.00")])
def test_accuracy_text(accuracy, ci95, text):
    assert accuracy_text(accuracy, ci95) == text


def python(code: str, **changes) -> subprocess.CompletedProcess:
    environment = {**os.environ, **changes}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, encoding="utf-8", timeout=60
    )


def test_the_leaderboard_never_imports_torch(board):
    found = python("""
import sys
from fewshot.leaderboard import ranking, render, row, table
from fewshot.cli.leaderboard import main
for arguments in ([], ["--format", "markdown"], ["--format", "csv", "--all-columns"]):
    assert main(["show", *arguments]) == 0
fields = row.Row.__dataclass_fields__.values()
table.append("new.csv", row.Row(*[f.type() if isinstance(f.type, type) else None for f in fields]))
heavy = {"torch", "torchvision", "lightning_fabric", "hydra", "matplotlib", "scipy"} & set(sys.modules)
sys.exit(f"imported {heavy}" if heavy else 0)
""")
    assert (found.returncode, found.stderr) == (0, "")


def test_help_and_appending_wait_for_no_pandas():
    found = python("""
import sys
import fewshot.leaderboard.table
from fewshot.cli.leaderboard import main
try:
    main(["show", "--help"])
except SystemExit:
    pass
sys.exit("imported pandas" if "pandas" in sys.modules else 0)
""")
    assert (found.returncode, found.stderr) == (0, "")
    assert "--all-columns" in found.stdout


def test_an_output_without_the_letters_gets_their_codes(board):
    code = "import sys; from fewshot.cli.leaderboard import main; sys.exit(main(['show']))"
    found = python(code, PYTHONIOENCODING="ascii")
    assert (found.returncode, found.stderr) == (0, "")
    assert "98.12" in found.stdout


@pytest.mark.parametrize("arguments", [[], ["--format", "csv"]])
def test_a_reader_that_stops_early_sees_no_traceback(board, arguments):
    # More than a pipe holds.
    for _ in range(10):
        append(board, a_row(run="x" * 100_000))
    code = (
        f"import sys; from fewshot.cli.leaderboard import main; sys.exit(main(['show', '--all-columns', *{arguments}]))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.readline()
    process.stdout.close()
    complaint = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=60) == 1
    assert complaint == ""


def test_help_tells_of_every_command(capsys):
    for command in ("show", "rank", "compare", "verify", "merge", "export", "plot", "rerun"):
        with pytest.raises(SystemExit) as stop:
            main([command, "--help"])
        assert stop.value.code == 0
        assert command in capsys.readouterr().out
