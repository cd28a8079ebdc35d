import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir

from fewshot.leaderboard.table import read

SCRIPT = Path(__file__).parents[2] / "scripts" / "reproduce.py"
TABLES = yaml.safe_load((SCRIPT.parent / "reproduce" / "tables.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", TABLES)
def test_every_command_of_a_table_can_be_composed(name):
    table = TABLES[name]
    assert set(table.get("more", {})) <= set(table["trainings"])
    with initialize_config_dir(str(SCRIPT.parents[1] / "conf"), version_base="1.3"):
        for training, overrides in table["trainings"].items():
            config = compose("config", [*table["common"], *overrides, *table["tests"][0], f"name={training}"])
            assert config.name == training


def script(*arguments: str, folder: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], cwd=folder, capture_output=True, text=True, check=False
    )


def test_a_table_is_made_once_and_names_what_was_not_run(tmp_path):
    small = [
        "experiment=debug",
        "backbone.width=4",
        "trainer.threads=1",
        "trainer.accelerator=cpu",
        f"data.prepared={tmp_path}",
    ]
    table = {
        "says": "Letters", "budget": "seconds", "common": small,
        "trainings": {"one": [], "other": ["head=ridge"]},
        "tests": [["episodes.test.shot=1"]],
        "more": {"one": [["heads=[own,ridge]", "episodes.test.shot=2"]]},
    }  # fmt: skip
    (tmp_path / "tables.yaml").write_text(yaml.safe_dump({"letters": table}))
    asked = ("letters", "--tables", "tables.yaml", "--only", "one", "--output", "made")
    first = script(*asked, folder=tmp_path)
    assert first.returncode == 0, first.stderr
    rows = read(tmp_path / "made" / "letters" / "leaderboard.csv")
    assert rows["shot"].tolist() == ["1", "2", "2"]
    assert rows["head"].tolist() == ["prototype"] * 2 + ["ridge"]
    text = (tmp_path / "made" / "letters" / "table.md").read_text()
    for row in rows.itertuples():
        assert f"| one | glyphs, {row.head}, 5-way {row.shot}-shot |  | {row.accuracy:.2f} ± {row.ci95:.2f} |" in text
    assert "| other | not run |" in text
    again = script(*asked, folder=tmp_path)
    assert again.stdout.count("nothing to do") == 2
    assert len(read(tmp_path / "made" / "letters" / "leaderboard.csv")) == 3
    unknown = script("--only", "third", *asked[:3], folder=tmp_path)
    assert unknown.returncode != 0
    assert "--only third: not in letters; expected one, other" in unknown.stderr


def test_a_dry_run_prints_the_commands_alone(tmp_path):
    told = script("cifar_fs_prototypical", "--only", "prototypical-5w1s", "--dry-run", folder=tmp_path)
    trains, tests = told.stdout.splitlines()
    assert trains.startswith("$ fewshot experiment=cifar_fs/prototypical_5w1s")
    assert "episodes.test.shot=1 resume=true" in trains
    weights = "runs/reproduce/cifar_fs_prototypical/prototypical-5w1s-????????/best.safetensors"
    assert f"mode=test 'checkpoint={weights}' episodes.test.shot=5" in tests
    assert not list(tmp_path.iterdir())


def test_what_is_not_trained_is_tested_as_it_is(tmp_path):
    told = script("mini_imagenet_pixels", "--dry-run", "--test", "seed=3", folder=tmp_path).stdout.splitlines()
    assert len(told) == 4
    assert not any("mode=test" in line for line in told)
    assert told[1].endswith("episodes.test.shot=5 seed=3")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nothing",), "there is no table nothing; expected one of omniglot_pixels"),
        (("x", "--tables", "none.yaml"), "--tables none.yaml: [Errno 2]"),
        (("x", "--tables", "broken.yaml"), "--tables broken.yaml: while parsing"),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path, arguments, words):
    (tmp_path / "broken.yaml").write_text("a: [")
    done = script(*arguments, folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("reproduce.py: error: ")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
