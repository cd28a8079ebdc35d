"""The leaderboard file keeps every row, whoever writes, reads or dies at the same time."""

import csv
import dataclasses
import math
import os
import random
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock

from fewshot.errors import FewshotError
from fewshot.leaderboard import table
from fewshot.leaderboard.row import Row
from fewshot.leaderboard.table import COLUMNS, append, read

PROCESSES, ROWS_EACH = 20, 5
NASTY = [
    "a,b",
    'say "hi"',
    '"',
    "two\nlines",
    "old\rmac",
    "dos\r\nend",
    "\n",
    " spaces ",
    "007",
    "1e5",
    "nan",
    "NA",
    "None",
    "True",
    "=1+1",
    "#",
    "'",
    "\\",
    "tab\there",
    "nul\0l",
    "каша 漢字 🙂 é",
    "\ufeffmark",
    "\u2028",
]

# A process of its own: it waits for the start so that all of them collide, then appends.
SCRIPT = """
import dataclasses, os, sys, time
from fewshot.leaderboard.row import Row
from fewshot.leaderboard.table import append
path, start, name, count = sys.argv[1:]
values = {f.name: f.type() if isinstance(f.type, type) else None for f in dataclasses.fields(Row)}
open(start + "." + name, "w").close()
while not os.path.exists(start):
    time.sleep(0.002)
for number in range(int(count)):
    append(path, Row(**values | {"name": name, "seed": number, "run": "x" * 300}))
    print(number, flush=True)
"""


def a_row(**changes) -> Row:
    values = {field.name: field.type() if isinstance(field.type, type) else None for field in dataclasses.fields(Row)}
    return Row(**values | changes)


def start_process(path, start, name, count, before="") -> subprocess.Popen:
    command = [sys.executable, "-c", before + SCRIPT, str(path), str(start), name, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def end(process: subprocess.Popen) -> None:
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "board" / "leaderboard.csv"


@pytest.mark.parametrize("text", NASTY)
def test_nasty_text_comes_back_the_same(path, text):
    append(path, a_row(name=text, run=text, when=text))
    append(path, a_row(name="after"))
    frame = read(path)
    assert list(frame["name"]) == [text, "after"]
    assert frame["run"][0] == frame["when"][0] == text


def test_a_path_that_is_not_utf8_does_not_cost_the_row(path):
    append(path, a_row(run=os.fsdecode(b"/runs/\xff")))
    assert read(path)["run"][0] == "/runs/\\udcff"


def test_values_come_back_with_their_types_and_every_digit(path):
    third, tiny = 100 / 3, 5e-324
    first = a_row(transductive=True, git_dirty=True, accuracy=third, ci95=math.nan, seconds=tiny, shot="1", seed=3)
    second = a_row(git_dirty=False, accuracy=0.1 + 0.2, bank_fingerprint="0012e34", shot="1,5,5", way=20)
    for row in (first, second, a_row(git_dirty=None)):
        append(path, row)
    frame = read(path)
    assert list(frame.columns) == COLUMNS
    assert frame["transductive"].dtype == "bool"
    assert list(frame["transductive"]) == [True, False, False]
    assert frame["git_dirty"].dtype == "boolean"
    assert list(frame["git_dirty"][:2]) == [True, False]
    assert frame["git_dirty"][2] is pd.NA
    assert list(frame["accuracy"]) == [third, 0.1 + 0.2, 0.0]
    assert frame["seconds"][0] == tiny
    assert math.isnan(frame["ci95"][0])
    assert frame["ci95"][1] == 0
    assert frame["way"].dtype == frame["seed"].dtype == "int64"
    assert list(frame["way"]) == [0, 20, 0]
    assert list(frame["shot"]) == ["1", "1,5,5", ""]
    assert frame["bank_fingerprint"][1] == "0012e34"


def test_git_dirty_has_one_type_whether_or_not_it_is_always_known(path):
    append(path, a_row(git_dirty=True))
    assert read(path)["git_dirty"].dtype == "boolean"


def test_numbers_of_numpy_are_written_as_numbers(path):
    append(path, a_row(accuracy=np.float64(98.125), way=np.int64(5), transductive=np.bool_(True)))
    frame = read(path)
    assert (frame["accuracy"][0], frame["way"][0], frame["transductive"][0]) == (98.125, 5, True)
    assert b"np." not in path.read_bytes()


def test_a_seed_of_any_length_is_kept(path):
    append(path, a_row(seed=2**100))
    append(path, a_row(seed=1))
    assert list(read(path)["seed"]) == [2**100, 1]


def test_an_append_leaves_the_rows_before_it_byte_for_byte(path):
    append(path, a_row(name="first"))
    # As a spreadsheet might have left it.
    before = b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n").replace(b"False", b"FALSE")
    path.write_bytes(before)
    append(path, a_row(name="second"))
    assert path.read_bytes().startswith(before)
    frame = read(path)
    assert list(frame["name"]) == ["first", "second"]
    assert list(frame["transductive"]) == [False, False]


def test_a_file_of_an_older_version_grows_the_columns_it_lacks(path):
    path.parent.mkdir()
    old = ["when", "name", "data", "way", "accuracy", "ci95", "episodes_sha256"]
    path.write_text(",".join(old) + '\nyesterday,"a,b",glyphs,5,97.5,0.25,abc\n')
    frame = read(path)
    assert list(frame.columns) == COLUMNS
    append(path, a_row(name="new", way=20, transductive=True))
    with open(path, newline="") as file:
        header, *rows = csv.reader(file)
    assert header == old + [name for name in COLUMNS if name not in old]
    assert rows[0] == ["yesterday", "a,b", "glyphs", "5", "97.5", "0.25", "abc"] + [""] * (len(COLUMNS) - len(old))
    frame = read(path)
    assert list(frame["name"]) == ["a,b", "new"]
    assert list(frame["way"]) == [5, 20]
    assert frame["transductive"][0] is pd.NA
    assert frame["query"][0] is pd.NA
    assert math.isnan(frame["seconds"][0])
    assert frame["head"][0] == ""


def test_columns_of_a_newer_version_are_kept(path):
    append(path, a_row(name="old"))
    lines = path.read_text().splitlines()
    path.write_text(f"future,{lines[0]},later\n" + f'"0,1",{lines[1]},007\n')
    before = path.read_bytes()
    append(path, a_row(name="new"))
    assert path.read_bytes().startswith(before)
    frame = read(path)
    assert list(frame.columns) == [*COLUMNS, "future", "later"]
    assert list(frame["future"]) == ["0,1", ""]
    assert list(frame["later"]) == ["007", ""]
    assert list(frame["name"]) == ["old", "new"]


def good() -> bytes:
    return table._line(COLUMNS) + table._line(COLUMNS)


REFUSED = {
    "another table": (b"name,accuracy\nme,3\n", "lacks when, data, ci95, episodes_sha256"),
    "text": b"dear diary\n",
    "picture": (b"\x89PNG\r\n\x1a\n\xff\xfe\0\0", "not UTF-8"),
    "a header without end": (good().splitlines()[0], "last line has no end"),
    "torn in the middle": (good()[:-20] + b"\n" + good(), r"line 2 has \d+ of 40 cells"),
    "open quote": (good() + b'"never closed\n', "damaged: line 3"),
    "merge conflict": (good() + b"<<<<<<< ours\n", "line 3 has 1 of 40 cells"),
    "column twice": (good().replace(b"run", b"name"), "twice"),
    "blank line": b"\n",
    "empty": (b"", "it is empty"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_leaderboard_is_refused_and_left_alone(path, kind):
    content, words = REFUSED[kind] if isinstance(REFUSED[kind], tuple) else (REFUSED[kind], "not a leaderboard")
    path.parent.mkdir()
    path.write_bytes(content)
    for verb in (lambda: append(path, a_row()), lambda: read(path)):
        with pytest.raises(FewshotError, match=words) as caught:
            verb()
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
    assert path.read_bytes() == content
    assert {file.name for file in path.parent.iterdir()} <= {"leaderboard.csv", "leaderboard.csv.lock"}


@pytest.mark.parametrize("torn", ["2026-01-01,na", 'x,"open, quote', 'x,"two\nlines, "" and, quote', "каша"])
def test_a_torn_last_line_of_a_foreign_writer_costs_no_other_row_and_is_kept_aside(path, torn):
    append(path, a_row(name="two\nlines", run='a "quoted" one'))
    append(path, a_row(name="second"))
    whole = path.read_bytes()
    # Cut inside a letter of two bytes, as a writer that is killed may leave it.
    fragment = torn.encode()[:-1]
    path.write_bytes(whole + fragment)
    frame = read(path)
    assert list(frame["name"]) == ["two\nlines", "second"]
    assert frame.attrs["torn"] == fragment.decode("utf-8", "backslashreplace")
    assert path.read_bytes() == whole + fragment, "reading writes nothing"
    aside = append(path, a_row(name="third"))
    assert aside == path.with_name("leaderboard.csv.torn")
    assert aside.read_bytes() == fragment + b"\n"
    assert path.read_bytes().startswith(whole)
    frame = read(path)
    assert list(frame["name"]) == ["two\nlines", "second", "third"]
    assert frame.attrs["torn"] == ""
    assert append(path, a_row()) is None


def test_rows_are_written_as_they_stood_and_never_over_a_file(path, tmp_path):
    append(path, a_row(name='say "hi",\nthere', accuracy=100 / 3))
    columns, rows = table.texts(path)
    table.write(tmp_path / "copy.csv", rows, columns)
    assert (tmp_path / "copy.csv").read_bytes() == path.read_bytes()
    with pytest.raises(FewshotError, match="is there already"):
        table.write(path, rows, columns)


def test_rows_say_which_columns_they_have(path):
    append(path, a_row(schema=2))
    assert list(read(path)["schema"]) == [2]
    lines = path.read_text().splitlines()
    # As version 1 wrote it.
    path.write_text("\n".join(line.rpartition(",")[0].rpartition(",")[0] for line in lines) + "\n")
    frame = read(path)
    assert frame["schema"][0] is pd.NA
    assert frame["accuracies_sha256"][0] == ""
    append(path, a_row(schema=2))
    assert list(read(path)["schema"].fillna(1)) == [1, 2]


def test_a_value_of_the_wrong_type_is_named(path):
    append(path, a_row(accuracy=1.5))
    path.write_bytes(path.read_bytes().replace(b"1.5", b"good"))
    with pytest.raises(FewshotError, match=r"row 1 has accuracy='good', expected a number"):
        read(path)


def test_a_text_that_no_csv_reader_would_take_is_refused(path):
    append(path, a_row(name="x" * 131_072))
    before = path.read_bytes()
    with pytest.raises(FewshotError, match="name has 131073 letters"):
        append(path, a_row(name="x" * 131_073))
    assert path.read_bytes() == before
    assert len(read(path)) == 1


def test_a_link_stays_a_link(path, tmp_path):
    link = tmp_path / "link.csv"
    link.symlink_to(path)
    append(link, a_row())
    append(path, a_row())
    assert link.is_symlink()
    assert len(read(link)) == len(read(path)) == 2


def test_an_absent_file_is_one_line_with_the_command_that_makes_it(path):
    with pytest.raises(FewshotError, match=r"no leaderboard at .*leaderboard\.csv; the command `fewshot` makes one"):
        read(path)


def test_what_cannot_be_written_is_one_line(path, tmp_path):
    path.parent.touch()
    with pytest.raises(FewshotError, match=r"cannot write .*leaderboard\.csv: "):
        append(path, a_row())
    with pytest.raises(FewshotError, match=r"cannot write .*directory"):
        append(tmp_path, a_row())


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_the_right_to_write_is_one_line(path):
    append(path, a_row())
    path.with_name("leaderboard.csv.lock").unlink()
    path.parent.chmod(0o555)
    try:
        assert len(read(path)) == 1
        with pytest.raises(FewshotError, match="cannot write"):
            append(path, a_row())
    finally:
        path.parent.chmod(0o755)


def test_a_lock_that_is_not_let_go_is_named_after_a_while(path, monkeypatch):
    append(path, a_row())
    before = path.read_bytes()
    monkeypatch.setattr(table, "_LOCK_SECONDS", 0.2)
    with FileLock(path.with_name("leaderboard.csv.lock")):
        with pytest.raises(FewshotError, match=r"has held leaderboard\.csv\.lock for over 0\.2 s"):
            append(path, a_row())
        assert len(read(path)) == 1
    assert path.read_bytes() == before


def test_others_that_write_all_the_time_are_waited_for(path, monkeypatch):
    append(path, a_row(name="before"))
    monkeypatch.setattr(table, "_LOCK_SECONDS", 0.2)
    busy = threading.Event()

    def others():
        # They hold the lock for longer than a waiter's patience, and something is written meanwhile.
        with FileLock(path.with_name("leaderboard.csv.lock")):
            busy.set()
            for _ in range(8):
                time.sleep(0.1)
                path.touch()

    writer = threading.Thread(target=others)
    writer.start()
    busy.wait()
    append(path, a_row(name="patient"))
    writer.join()
    assert list(read(path)["name"]) == ["before", "patient"]


def test_twenty_processes_and_a_reader_lose_and_tear_nothing(path, tmp_path):
    start = tmp_path / "start"
    processes = [start_process(path, start, f"p{number}", ROWS_EACH) for number in range(PROCESSES)]
    seen, problems, done = [], [], threading.Event()

    def look():
        while not done.is_set():
            try:
                seen.append(len(read(path)))
            except FewshotError as error:
                if "no leaderboard at" not in str(error):
                    problems.append(str(error))

    reader = threading.Thread(target=look)
    try:
        while len(list(tmp_path.glob("start.p*"))) < PROCESSES and all(p.poll() is None for p in processes):
            time.sleep(0.01)
        reader.start()
        start.touch()
        codes = [process.wait(timeout=60) for process in processes]
    finally:
        done.set()
        for process in processes:
            end(process)
    reader.join()
    assert codes == [0] * PROCESSES
    assert problems == []
    assert seen == sorted(seen)
    assert len(set(seen)) > 2, "the reader never looked while rows were appended"
    frame = read(path)
    found = sorted(zip(frame["name"], frame["seed"], strict=True))
    assert found == sorted((f"p{p}", seed) for p in range(PROCESSES) for seed in range(ROWS_EACH))
    assert set(frame["run"]) == {"x" * 300}


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_twenty_processes_of_which_some_are_killed_while_they_write_lose_and_tear_nothing(path, tmp_path):
    start, rows, told = tmp_path / "start", 10, {}
    # Those to be killed would never end: the others are quick on some machines and slow on others.
    killed = range(0, PROCESSES, 4)
    counts = [100_000 if number in killed else rows for number in range(PROCESSES)]
    processes = [start_process(path, start, f"p{number}", counts[number]) for number in range(PROCESSES)]
    try:
        while len(list(tmp_path.glob("start.p*"))) < PROCESSES and all(p.poll() is None for p in processes):
            time.sleep(0.01)
        start.touch()
        for number in killed:
            for _ in range(1 + number // 4):
                processes[number].stdout.readline()
            processes[number].kill()
            told[number] = 1 + number // 4 + len(processes[number].stdout.readlines())
        codes = [process.wait(timeout=60) for process in processes]
    finally:
        for process in processes:
            end(process)
    assert [codes[number] for number in killed] == [-signal.SIGKILL] * len(killed)
    frame = read(path)
    assert frame.attrs["torn"] == ""
    assert set(frame["run"]) == {"x" * 300}
    for number in range(PROCESSES):
        seeds = list(frame["seed"][frame["name"] == f"p{number}"])
        assert seeds == list(range(len(seeds))), "each process's rows in their order, none twice"
        if number in killed:
            # The last row may be in the file although the process had no time left to say so.
            assert told[number] <= len(seeds) <= told[number] + 1
        else:
            assert len(seeds) == rows


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
@pytest.mark.parametrize("moment", ["fsync", "replace", "chmod"])
def test_a_process_killed_inside_an_append_leaves_the_file_and_the_lock(path, tmp_path, monkeypatch, moment):
    append(path, a_row(name="before"))
    content = path.read_bytes()
    start = tmp_path / "start"
    start.touch()
    hang = f"import os, time\nos.{moment} = lambda *a, **k: (print('inside', flush=True), time.sleep(60))\n"
    process = start_process(path, start, "killed", 1, before=hang)
    try:
        assert process.stdout.readline() == "inside\n"
        monkeypatch.setattr(table, "_LOCK_SECONDS", 0.1)
        with pytest.raises(FewshotError, match="has held"):
            append(path, a_row(name="meanwhile"))
    finally:
        end(process)
    assert path.read_bytes() == content
    monkeypatch.setattr(table, "_LOCK_SECONDS", 2)
    append(path, a_row(name="after"))
    assert list(read(path)["name"]) == ["before", "after"]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_processes_killed_at_any_moment_lose_no_row_they_were_told_is_kept(path, tmp_path, monkeypatch):
    monkeypatch.setattr(table, "_LOCK_SECONDS", 2)
    start = tmp_path / "start"
    start.touch()
    kept = 0
    for number in range(10):
        process = start_process(path, start, f"p{number}", 10_000)
        try:
            process.stdout.readline()
            time.sleep(random.Random(number).uniform(0, 0.03))
            process.kill()
            told = 1 + len(process.stdout.readlines())
        finally:
            end(process)
        rows = len(read(path))
        # The last row may be in the file although the process had no time left to say so.
        assert kept + told <= rows <= kept + told + 1
        append(path, a_row())
        kept = rows + 1
