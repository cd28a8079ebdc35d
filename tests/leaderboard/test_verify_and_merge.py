"""A row is what its run left, or `verify` says what is not; rows of several machines become one file."""

import csv
import json
import shutil

import numpy as np
import pytest

from fewshot.cli.leaderboard import main
from fewshot.errors import FewshotError
from fewshot.leaderboard.merge import merge
from fewshot.leaderboard.run_files import accuracies_of, run_files
from fewshot.leaderboard.table import read
from fewshot.leaderboard.verify import verify


@pytest.fixture
def two_heads(board, episodes):
    """One run whose two heads were tested on the same episodes, and a run of its own."""
    board.run(episodes(0.0), label="-prototype")
    board.run(episodes(0.05, seed=2), label="-ridge", head="ridge")
    board.run(episodes(0.02, seed=3), run="other", name="other", seed=1)
    return board


def wrong(board) -> list[list[str]]:
    return [verdict.wrong for verdict in verify(read(board.path))]


def edit(path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) >= 1
    path.write_text(text.replace(old, new, 1))


def test_untouched_rows_agree(two_heads, capsys):
    assert wrong(two_heads) == [[], [], []]
    assert main(["verify", "--csv", str(two_heads.path)]) == 0
    assert "3 rows: 3 agree, 0 wrong" in capsys.readouterr().out


@pytest.mark.parametrize("column", ["accuracy", "ci95", "macro_accuracy", "seconds"])
def test_a_changed_digit_is_found(two_heads, capsys, column):
    with open(two_heads.path, newline="") as file:
        header, *rows = csv.reader(file)
    place = header.index(column)
    before = rows[1][place]
    # The fourth digit; the last ones may lie below what a float tells apart.
    after = rows[1][place] = f"{before[:4]}{(int(before[4:5] or 0) + 1) % 10}{before[5:]}"
    with open(two_heads.path, "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])
    assert main(["verify", "--csv", str(two_heads.path)]) == 1
    out = capsys.readouterr().out
    assert f"row 2 (run): WRONG: {column} is {float(after)!r}, the run wrote {before}" in out
    assert "3 rows: 2 agree, 1 wrong" in out


def test_a_digit_that_was_changed_in_both_places_is_found_by_the_accuracies(two_heads):
    accuracy = float(read(two_heads.path)["accuracy"][1])
    edit(two_heads.path, repr(accuracy), repr(accuracy + 1))
    edit(two_heads.runs / "run" / "row-ridge.json", repr(accuracy), repr(accuracy + 1))
    found = wrong(two_heads)
    assert found[0] == found[2] == []
    assert found[1][0].startswith(f"accuracy is {accuracy + 1!r}, test_accuracies-ridge.npy gives {accuracy!r}")


def test_swapped_files_are_found(two_heads):
    one, other = (two_heads.runs / "run" / f"test_accuracies-{head}.npy" for head in ("prototype", "ridge"))
    content = one.read_bytes()
    shutil.copy(other, one)
    other.write_bytes(content)
    found = wrong(two_heads)
    assert all("another file than the row's" in " ".join(found[i]) for i in (0, 1))
    assert found[2] == []
    with pytest.raises(FewshotError, match="not what row run was made of"):
        accuracies_of(read(two_heads.path).iloc[0])


def test_a_file_of_the_same_mean_is_found_by_its_hash(two_heads):
    path = two_heads.runs / "other" / "test_accuracies.npy"
    np.save(path, np.load(path)[::-1])
    found = wrong(two_heads)
    assert found[:2] == [[], []]
    assert found[2] == ["test_accuracies.npy is another file than the row's: its hash differs"]


def test_another_bank_and_other_episodes_are_found(two_heads):
    edit(two_heads.path, ",bank,", ",bunk,")
    assert wrong(two_heads)[0] == ["bank_fingerprint is 'bunk', the run wrote 'bank'"]


def test_missing_folders_are_not_wrong_but_unchecked_and_found_elsewhere(two_heads, capsys):
    moved = two_heads.folder / "archive"
    two_heads.runs.rename(moved)
    assert main(["verify", "--csv", str(two_heads.path)]) == 3
    out = capsys.readouterr().out
    assert "say where runs lie with --runs" in out
    assert "0 agree, 0 wrong, 3 not wholly checked" in out
    assert main(["verify", "--csv", str(two_heads.path), "--runs", str(moved)]) == 0
    assert run_files(read(two_heads.path).iloc[1], [moved]).label == "-ridge"


def test_rows_of_an_older_version_are_told_by_mean_and_interval(board, episodes, capsys):
    board.run(episodes(), accuracies_sha256="")
    assert main(["verify", "--csv", str(board.path)]) == 0
    assert "1 are of a version without accuracies_sha256" in capsys.readouterr().out


def test_a_file_of_accuracies_that_is_gone_or_cut_is_wrong(two_heads):
    path = two_heads.runs / "other" / "test_accuracies.npy"
    np.save(path, np.load(path)[:-1])
    assert any("episodes is 300, test_accuracies.npy has 299" in text for text in wrong(two_heads)[2])
    path.unlink()
    assert "there are no accuracies" in wrong(two_heads)[2][0]


def test_merged_rows_are_there_once_oldest_first_letter_by_letter(board, episodes):
    machines = [board.folder / f"{name}.csv" for name in ("a", "b", "c")]
    board.run(episodes(), run="1", path=machines[0], when="2026-01-03", name='say "hi"\n')
    board.run(episodes(), run="2", path=machines[1], when="2026-01-01", seed=1)
    board.run(episodes(), run="3", path=machines[1], when="2026-01-02", seed=2)
    shutil.copy(machines[1], machines[2])
    board.run(episodes(), run="4", path=machines[2], when="2026-01-04", seed=3)
    # Another version of the program knew one column more.
    lines = machines[2].read_text().splitlines()
    machines[2].write_text("\n".join([f"{lines[0]},future", *(f"{line},yes" for line in lines[1:])]) + "\n")
    assert merge(machines, board.path) == (4, 2)
    frame = read(board.path)
    assert list(frame["when"]) == ["2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04"]
    assert list(frame["future"]) == ["yes", "yes", "", "yes"]
    assert frame["name"][2] == 'say "hi"\n'
    assert [verdict.wrong for verdict in verify(frame)] == [[]] * 4
    again = board.folder / "again.csv"
    assert merge([board.path, *machines], again) == (4, 6)
    assert again.read_bytes() == board.path.read_bytes()


def test_rows_of_one_test_that_disagree_and_a_target_that_is_there_are_refused(board, episodes, capsys):
    board.run(episodes())
    copy = board.folder / "copy.csv"
    copy.write_text(board.path.read_text().replace("conv4", "resnet"))
    with pytest.raises(FewshotError, match="backbone is 'resnet' and 'conv4'"):
        merge([board.path, copy], board.folder / "new.csv")
    assert not (board.folder / "new.csv").exists()
    with pytest.raises(FewshotError, match="there already"):
        merge([board.path], board.path)
    assert main(["merge", str(board.path), "--to", str(board.folder / "new.csv")]) == 0
    assert "1 rows of 1 files" in capsys.readouterr().out


def test_half_a_row_is_said_and_the_others_are_shown(board, episodes, capsys):
    board.run(episodes())
    with open(board.path, "a") as file:
        file.write("2026-01-05,half a r")
    assert main(["show", "--csv", str(board.path)]) == 0
    said = capsys.readouterr()
    assert "prototype" in said.out
    assert said.err.count("\n") == 1
    assert "ends in half a row of 19 letters ('2026-01-05,half a r')" in said.err


def test_a_row_of_a_newer_version_says_so(board, episodes):
    row = board.run(episodes(), schema=99)
    assert json.loads((board.runs / "run" / "row.json").read_text())["schema"] == row.schema == 99
    assert "a newer fewshot" in verify(read(board.path))[0].unchecked[0]
