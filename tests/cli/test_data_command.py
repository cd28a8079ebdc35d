import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from fewshot.cli.data import main
from fewshot.data import omniglot
from fewshot.data.omniglot import Omniglot


@pytest.fixture
def pictures(tmp_path):
    """A data set of one's own: two classes in train, three in test, none in val."""
    for split, classes in (("train", "ab"), ("test", "xyz")):
        for number, name in enumerate(classes):
            folder = tmp_path / "raw" / split / f"[{name}]"
            folder.mkdir(parents=True)
            for i in range(2 + number):
                Image.new("L", (9, 9), 40 * number + 10 * len(classes) + i).save(folder / f"{i}.png")
    return tmp_path


@pytest.fixture
def command(pictures, capsys, monkeypatch):
    """Runs the command on the pictures; returns exit code, standard output and standard error."""
    monkeypatch.setenv("FEWSHOT_DATA", str(pictures / "elsewhere"))

    def run(*arguments):
        try:
            code = main([*arguments, "--prepared", str(pictures / "prepared")])
        except SystemExit as stop:
            code = stop.code
        return code, *capsys.readouterr()

    return run


def test_prepare_list_and_verify_tell_the_same(command, pictures):
    mine = ("folder", "--root", str(pictures / "raw"), "size=8")
    code, first, _ = command("prepare", *mine)
    assert code == 0
    assert [line.split(",")[0] for line in first.splitlines()] == ["folder/train: 2 classes", "folder/test: 3 classes"]
    fingerprint = first.splitlines()[1].split("fingerprint ")[1][:12]

    code, again, _ = command("prepare", *mine)
    assert code == 0
    assert again.count("(was there)") == 2
    assert fingerprint in again
    assert "(was there)" not in command("prepare", *mine, "--force")[1]

    code, table, _ = command("verify", *mine)
    assert code == 0
    assert fingerprint in table
    assert "2 to 4" in table
    assert table.count("ok") == 2
    assert "in two splits:" not in table


def test_one_split_can_be_prepared_alone(command, pictures):
    mine = ("folder", "--root", str(pictures / "raw"), "size=8")
    code, text, _ = command("prepare", *mine, "--split", "test")
    assert (code, len(text.splitlines())) == (0, 1)
    code, table, _ = command("verify", *mine)
    assert code == 1
    assert "not prepared; run: fewshot-data prepare folder" in table
    code, _, error = command("prepare", *mine, "--split", "novel")
    assert code == 2
    assert "no split 'novel'; choose one of train, test" in error


def test_list_shows_what_is_there_and_how_to_get_the_rest(command, pictures):
    code, table, _ = command("list")
    assert code == 0
    for name in ("folder", "glyphs", "omniglot"):
        assert name in table
    assert "fewshot-data prepare NAME" in table
    assert not (pictures / "prepared").exists()

    # Banks of any options and of any name are listed, wherever their files were.
    command("prepare", "folder", "--root", str(pictures / "raw"), "--split", "test", "size=8", "name=mine")
    command("prepare", "folder", "--root", str(pictures / "raw"), "--split", "train", "size=9", "name=mine")
    code, table, _ = command("list")
    rows = [line.split() for line in table.splitlines() if "mine" in line]
    assert [row[3:10:2] for row in rows] == [["test", "crop8", "3", "9"], ["train", "crop9", "2", "5"]]
    next((pictures / "prepared").rglob("items.npy")).write_bytes(b"")
    code, table, _ = command("list")
    assert code == 0
    assert "damaged" in table


def test_verify_finds_a_flipped_byte(command, pictures):
    mine = ("folder", "--root", str(pictures / "raw"), "size=8")
    command("prepare", *mine)
    items = next((pictures / "prepared").rglob("train/items.npy"))
    content = bytearray(items.read_bytes())
    content[-1] ^= 1
    items.write_bytes(content)
    code, table, _ = command("verify", *mine)
    assert code == 1
    assert "is damaged" in " ".join(table.replace("│", " ").split())


def test_verify_compares_public_files_with_the_manifest(command, pictures, monkeypatch):
    lists = {f"vinyals_{part}": [f"A/character0{i}"] for i, part in enumerate(("train", "val", "test"))}
    monkeypatch.setattr(omniglot, "class_list", lambda _, part: lists[part])
    rng = np.random.default_rng(0)
    raw = pictures / "raw" / "omniglot-py" / "images_background" / "A"
    for i in range(3):
        (raw / f"character0{i}").mkdir(parents=True)
        for j in range(20):
            Image.fromarray(rng.random((105, 105)) > 0.3).save(raw / f"character0{i}" / f"{j:02d}.png")
    mine = ("omniglot", "--root", str(pictures / "raw"), "download=false")
    assert command("prepare", *mine)[0] == 0
    code, table, _ = command("verify", *mine)
    assert code == 0
    assert table.count("ok") == 4
    assert table.count("│       0 │     0 │          0 │") == 4
    (raw / "character02" / "07.png").unlink()
    code, table, _ = command("verify", *mine)
    assert code == 1
    assert "missing in test: A/character02 (19 images, expected 20)" in table
    (raw / "character01" / "08.png").write_bytes(b"no picture")
    assert "character01/08.png (cannot identify" in command("verify", *mine)[1]
    assert command("verify", *mine, "--quick")[0] == 0
    (raw.parent).rename(pictures / "gone")
    code, table, _ = command("verify", *mine)
    assert code == 0
    assert "No public files were compared" in table
    assert Omniglot(pictures / "raw", pictures / "prepared").audit("test") is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["prepare", "omnigolt"], "did you mean omniglot?"),
        (["prepare", "omniglot", "spilt=lake"], "did you mean split?"),
        (["prepare", "omniglot", "lake"], "expected key=value"),
        (["verify", "omniglot", "split=mine"], "expected one of vinyals, vinyals_upright, lake"),
        (["prepare", "omniglot", "download=false"], "no images_background in"),
        (["prepare", "folder"], "neither train/ val/ test/ folders nor CSVs"),
        (["prepare", "omniglot", "root=[1"], "cannot be read"),
        (["prepare", "omniglot", "root=${a"], "cannot be read"),
        (["prepare", "omniglot", "root=${oc.env:NO_SUCH_VARIABLE}"], "NO_SUCH_VARIABLE"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_leaves_nothing(command, pictures, arguments, words):
    code, out, error = command(*arguments)
    assert (code, out, error.count("\n")) == (2, "", 1)
    assert error.startswith("fewshot-data: error: ")
    assert words in error
    assert not list((pictures / "prepared").rglob("*.npy"))


@pytest.mark.parametrize("arguments", [["prepare", "glyphs", "--forse"], ["list", "glyphs"], []])
def test_unknown_arguments_are_refused(command, arguments):
    code, _, error = command(*arguments)
    assert code == 2
    assert "usage: fewshot-data" in error


def test_an_unreadable_picture_leaves_no_bank(command, pictures):
    (pictures / "raw/test/[z]/1.png").write_bytes(b"no picture")
    code, _, error = command("prepare", "folder", "--root", str(pictures / "raw"), "--split", "test")
    assert code == 2
    assert "1 image cannot be read: " in error
    assert "[z]/1.png (cannot identify image file" in error
    assert not list((pictures / "prepared").rglob("bank.json"))


def test_help_is_quick_because_it_loads_no_torch():
    program = "import sys; from fewshot.cli.data import main\ntry: main(['--help'])\nexcept SystemExit: print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("False")
    assert "fewshot-data prepare omniglot" in done.stdout


def test_an_episode_and_a_class_can_be_looked_at(command, pictures):
    mine = ("folder", "--root", str(pictures / "raw"), "size=8")
    for name, more in (("e0.png", ()), ("e1.png", ("--episode", "1")), ("again.png", ())):
        arguments = ("--way", "2", "--query", "1", *more, "--out", str(pictures / name))
        code, text, _ = command("show", *mine, *arguments)
        assert code == 0
        assert f"of folder/test, 2-way 1-shot 1-query: {pictures / name}" in text
    content = {name: (pictures / name).read_bytes() for name in ("e0.png", "e1.png", "again.png")}
    assert content["e0.png"] == content["again.png"] != content["e1.png"]
    code, text, _ = command("show", *mine, "--split", "train", "--class", "B", "--out", str(pictures / "b.png"))
    assert (code, text) == (0, f"[b] of folder/train: {pictures / 'b.png'}\n")
    with Image.open(pictures / "b.png") as picture:
        assert picture.width > picture.height


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--class", "q"], "has 0 classes with 'q' in their names, expected one; such as [x], [y], [z]"),
        (["--class", "["], "has 3 classes with '['"),
        (["--way", "9"], "9"),
        (["--episode", "-1", "--way", "2", "--query", "1"], "-1"),
        (["--out", "x.jpeg"], "ends in .png"),
        (["--split", "val"], "no split 'val'; choose one of train, test"),
    ],
)
def test_what_cannot_be_shown_is_one_line(command, pictures, arguments, words):
    mine = ("folder", "--root", str(pictures / "raw"), "size=8", "--out", str(pictures / "x.png"))
    code, _, error = command("show", *mine, *arguments)
    assert (code, error.count("\n")) == (2, 1)
    assert words in error
    assert not (pictures / "x.png").exists()
