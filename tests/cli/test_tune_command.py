"""`fewshot mode=tune`: values chosen on validation classes, written down with their curve."""

import csv
import json

import pytest

from fewshot.data.folder import ImageFolder

from .conftest import TRAIN_ONLY, only_run

EPISODIC = ("experiment=debug",)


@pytest.fixture
def tune(fewshot, tmp_path):
    assert fewshot("mode=train") == 0
    best = only_run(tmp_path) / "best.safetensors"

    def run(*arguments):
        return fewshot("mode=tune", f"checkpoint={best}", *arguments, without=(*TRAIN_ONLY, *EPISODIC))

    return run


def tuned(tmp_path):
    (folder,) = (path for path in (tmp_path / "runs").iterdir() if path.name.startswith("tune-"))
    return folder


def test_the_best_of_the_papers_values_is_chosen_on_validation_classes(tune, tmp_path, capsys, monkeypatch):
    opened, bank = [], ImageFolder.bank

    def counting(self, split):
        opened.append(split)
        return bank(self, split)

    monkeypatch.setattr(ImageFolder, "bank", counting)
    assert tune("head=laplacian_shot", "episodes.val.episodes=30") == 0
    # The test classes are not even opened.
    assert set(opened) == {"val"}
    folder = tuned(tmp_path)
    assert {path.name for path in folder.iterdir()} == {"config.yaml", "tuned.csv", "tuned.json", "tuned.png"}
    rows = list(csv.DictReader((folder / "tuned.csv").read_text().splitlines()))
    assert [float(row["weight"]) for row in rows] == [0.1, 0.3, 0.5, 0.7, 0.8, 1.0, 1.2, 1.5]
    result = json.loads((folder / "tuned.json").read_text())
    best = max(rows, key=lambda row: float(row["accuracy"]))
    assert result["values"] == {"weight": float(best["weight"])}
    assert result["accuracy"] == float(best["accuracy"])
    assert (result["data"], result["episodes"]) == ("folder/val", 30)
    assert f"head.weight={best['weight']}" in capsys.readouterr().out
    assert not (tmp_path / "leaderboard.csv").exists()


def test_own_values_of_several_options_make_all_combinations(tune, tmp_path):
    grid = "tune={weight: [0.0, 1.0], graph: [directed, psd]}"
    assert tune("head=laplacian_shot", grid, "episodes.test.dirichlet=2") == 0
    rows = list(csv.DictReader((tuned(tmp_path) / "tuned.csv").read_text().splitlines()))
    assert [(row["weight"], row["graph"]) for row in rows] == [
        ("0.0", "directed"), ("0.0", "psd"), ("1.0", "directed"), ("1.0", "psd"),
    ]  # fmt: skip
    # Without weight the graph is of no account.
    assert rows[0]["accuracy"] == rows[1]["accuracy"]
    # Validation follows the test's protocol.
    assert "dirichlet(2)" in json.loads((tuned(tmp_path) / "tuned.json").read_text())["protocol"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("head=prototype",), "prototype names no values to try; give some, such as 'tune={distance: [...]}'"),
        (("head=tim", "tune={tau: [1.0]}"), "tune.tau: this head has no such option (known: features, solver"),
        (("head=tim", "tune={temperature: 3.0}"), "tune.temperature=3.0; expected a list of values"),
        (("head=tim", "tune=[1]"), "tune=[1]; expected options with lists of values"),
        (("head=tim", "tune={temperature: [-1.0]}"), "head.temperature=-1.0; expected more than 0"),
        (("resume=true",), "mode=tune has nothing to resume"),
    ],
)
def test_what_cannot_be_tuned_is_one_line(tune, tmp_path, capfd, arguments, words):
    assert tune(*arguments) == 2
    error = capfd.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert len(list((tmp_path / "runs").iterdir())) == 1


def test_a_checkpoint_is_needed(fewshot, capfd):
    assert fewshot("mode=tune", without=(*TRAIN_ONLY, *EPISODIC)) == 2
    assert "mode=tune needs checkpoint=PATH" in capfd.readouterr().err
