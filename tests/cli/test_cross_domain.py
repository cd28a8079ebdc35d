"""Training on one data set and testing on others, in one command."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from fewshot.cli.seen_classes import check_disjoint
from fewshot.data.bank import Bank
from fewshot.errors import FewshotError
from fewshot.leaderboard.table import read

from .conftest import TRAIN_ONLY, only_run

OTHERS = "data.test=[{data: folder, root: images, size: 28, channels: 1, name: home},{data: folder, root: photos, size: 40, name: photos}]"


@pytest.fixture(autouse=True)
def photos(tmp_path):
    """Colour photos of other classes, on a disk where there is only a test split."""
    rng = np.random.default_rng(1)
    for c in range(6):
        pattern = rng.integers(0, 256, (40, 50, 3))
        folder = tmp_path / "photos" / "test" / f"bird{c}"
        folder.mkdir(parents=True)
        for i in range(6):
            noisy = 0.5 * pattern + 0.5 * rng.integers(0, 256, pattern.shape)
            Image.fromarray(noisy.astype(np.uint8)).save(folder / f"{i}.png")
    return tmp_path / "photos"


def test_each_data_set_gets_a_row_and_files_of_its_own(fewshot, tmp_path, capsys):
    assert fewshot(OTHERS) == 0
    rows = read("leaderboard.csv")
    assert rows.data.tolist() == ["home", "photos"]
    assert rows.pipeline.tolist() == ["crop28", "crop40 as crop28"]
    assert rows.train_data.tolist() == ["folder/train (crop28)"] * 2
    assert rows.run.nunique() == 1
    folder = only_run(tmp_path)
    for name in ("home-test", "photos-test"):
        accuracies = np.load(folder / f"test_accuracies-{name}.npy", allow_pickle=False)
        row = json.loads((folder / f"row-{name}.json").read_text())
        assert row["accuracy"] == pytest.approx(100 * accuracies.mean())
        assert (folder / f"episode-{name}.png").is_file()
    assert "2 rows appended" in capsys.readouterr().out
    # Tested alone it gets the same number: nothing of one test reaches the next.
    assert fewshot() == 0
    assert read("leaderboard.csv").accuracy[2] == rows.accuracy[0]


def test_the_training_data_among_the_tests_is_what_it_was_configured_to_be(fewshot):
    assert fewshot() == fewshot("data.test=[folder]") == 0
    rows = read("leaderboard.csv")
    assert rows.pipeline.tolist() == ["crop28", "crop28"]
    assert rows.bank_fingerprint.nunique() == rows.accuracy.nunique() == 1


def test_a_checkpoint_is_tested_elsewhere_in_the_format_it_was_trained_in(fewshot, tmp_path):
    assert fewshot(OTHERS) == 0
    best = only_run(tmp_path) / "best.safetensors"
    alone = OTHERS.replace("{data: folder, root: images, size: 28, channels: 1, name: home},", "")
    # Neither size nor channels are typed: the file of weights knows them.
    assert fewshot("mode=test", f"checkpoint={best}", alone, without=TRAIN_ONLY) == 0
    rows = read("leaderboard.csv")
    assert rows.accuracy[2] == rows.accuracy[1]
    assert rows.pipeline[2] == "crop40 as crop28"
    assert rows.train_data[2] == "folder/train (crop28)"


def test_resuming_tests_what_was_not_tested(fewshot, tmp_path, capsys):
    assert fewshot(OTHERS) == 0
    (only_run(tmp_path) / "row-photos-test.json").unlink()
    before = read("leaderboard.csv")
    assert fewshot(OTHERS, "resume=true") == 0
    # Its row had been appended already, and is not counted twice.
    assert len(read("leaderboard.csv")) == len(before) == 2
    assert (only_run(tmp_path) / "row-photos-test.json").is_file()
    assert fewshot(OTHERS, "resume=true") == 0
    assert capsys.readouterr().out.count("already finished: ") == 2


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ("data.test=[birds]", "unknown data set 'birds'"),
        ("data.test=[]", "names no data set"),
        ("data.test=[3]", "expected a name"),
        ("data.test=[{root: photos}]", "expected a name"),
        ("data.test=[{data: folder, rot: photos}]", "did you mean root?"),
        ("data.test=[{data: folder, root: photos, size: 20},{data: folder, root: photos, size: 30}]", "twice"),
        ("data.test=cub", "cub is not in"),
    ],
)
def test_what_cannot_be_tested_on_is_told_before_training(fewshot, tmp_path, capfd, monkeypatch, chosen, words):
    monkeypatch.setenv("FEWSHOT_DATA", str(tmp_path / "none"))
    assert fewshot(chosen) == 2
    error = capfd.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_classes_of_training_are_refused_in_other_data_sets_too(fewshot, photos, capfd):
    (photos / "test" / "bird0").rename(photos / "test" / "val3")
    assert fewshot(OTHERS) == 2
    assert "1 of the classes of folder/val are in photos/test too, such as 'val3'" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("trained", "tested", "shared"),
    [
        ("n01930112 nematode", "n01930112", True),
        ("n01930112", "n01930112 roundworm", True),
        ("Greek/character01/rot090", "Greek/character01", True),
        ("n01930112 nematode", "n01930113 nematode", False),
        ("Greek/character01/rot090", "Greek/character02/rot090", False),
        ("nematode", "n01930112 nematode", False),
    ],
)
def test_a_class_is_the_same_under_the_names_that_data_sets_give_it(trained, tested, shared):
    seen, bank = {"other/train": [trained]}, Bank(torch.zeros(2, 1), torch.zeros(2, dtype=torch.int64), [tested])
    if shared:
        with pytest.raises(FewshotError, match=f"1 of the classes of other/train .* such as '{tested}'"):
            check_disjoint(bank, seen)
    else:
        check_disjoint(bank, seen)


def test_so_are_they_in_a_test_of_a_checkpoint(fewshot, tmp_path, photos, capfd):
    assert fewshot("mode=train") == 0
    best = only_run(tmp_path) / "best.safetensors"
    (photos / "test" / "bird0").rename(photos / "test" / "train3")
    alone = "data.test=[{data: folder, root: photos, size: 40, name: photos}]"
    assert fewshot("mode=test", f"checkpoint={best}", alone, without=TRAIN_ONLY) == 2
    assert "1 of the classes of folder/train are in photos/test too, such as 'train3'" in capfd.readouterr().err
    assert not (tmp_path / "leaderboard.csv").exists()
