import os
import stat

import pytest

from fewshot.errors import FewshotError
from fewshot.files import replacing, write_text


def test_what_was_written_takes_the_place_of_the_old_file(tmp_path):
    path = tmp_path / "new" / "a.txt"
    write_text(path, "one\r\n")
    write_text(path, "ü")
    assert path.read_bytes() == "ü".encode()
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


def test_a_failure_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(ZeroDivisionError), replacing(path) as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_an_impossible_place_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FewshotError, match="cannot write"):
        write_text(tmp_path / "file" / "a.txt", "x")


def test_what_a_link_points_to_is_replaced_and_the_link_stays(tmp_path):
    (tmp_path / "shared").mkdir()
    (tmp_path / "link.csv").symlink_to(tmp_path / "shared" / "a.csv")
    for text in ("one", "two"):
        write_text(tmp_path / "link.csv", text)
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "shared" / "a.csv").read_text() == "two"


def test_what_is_no_file_stays_what_it_is(tmp_path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "pipe"):
        with pytest.raises(FewshotError, match="it is no file"):
            write_text(tmp_path / name, "x")
    assert {path.name for path in tmp_path.iterdir()} == {"folder", "pipe"}
