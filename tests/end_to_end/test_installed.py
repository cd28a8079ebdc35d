"""The wheel, alone in an empty folder; the console commands; a killed run; two processes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fewshot.leaderboard.table import read

ROOT = Path(__file__).parents[2]


def command(*arguments, cwd, **environment):
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def wheel_site(tmp_path_factory):
    """A folder with fewshot as its wheel installs it, and nothing of the checkout."""
    place = tmp_path_factory.mktemp("wheel")
    built = command("build", "--wheel", "--no-isolation", "--outdir", str(place / "dist"), str(ROOT), cwd=place)
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = (place / "dist").glob("*.whl")
    installed = command(
        "pip", "install", "--no-deps", "--quiet", "--target", str(place / "site"), str(wheel), cwd=place
    )
    assert installed.returncode == 0, installed.stderr
    return place / "site"


def test_an_installed_wheel_makes_a_row_in_an_empty_folder(wheel_site, tmp_path):
    where = command("fewshot.cli.data", "--help", cwd=tmp_path, PYTHONPATH=str(wheel_site))
    assert where.returncode == 0, where.stderr
    code = "import fewshot, fewshot.resources as r; print(fewshot.__file__, r.conf_folder(), r.manifests_folder())"
    paths = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(wheel_site)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert all(path.startswith(str(wheel_site)) for path in paths), paths
    done = command("fewshot.cli.main", "experiment=debug", cwd=tmp_path, PYTHONPATH=str(wheel_site))
    assert done.returncode == 0, done.stdout + done.stderr
    assert read(tmp_path / "leaderboard.csv").data.tolist() == ["glyphs"]
    assert {p.name for p in tmp_path.iterdir()} - {"leaderboard.csv.lock"} == {"data", "runs", "leaderboard.csv"}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A data folder with glyphs ready, for the tests that start processes."""
    place = tmp_path_factory.mktemp("data")
    assert command("fewshot.cli.data", "prepare", "glyphs", cwd=place, FEWSHOT_DATA=str(place)).returncode == 0
    return str(place)


def test_help_lists_choices_and_examples(tmp_path):
    out = command("fewshot.cli.main", "--help", cwd=tmp_path)
    assert out.returncode == 0
    for words in (
        "fewshot data=omniglot",
        "head: adaptable_metric, alpha_tim, attribute_regression, bd_cspn",
        "resume: false",
        "fewshot-leaderboard show",
    ):
        assert words in out.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_killed_command_resumes_to_the_same_weights_and_one_row(prepared, tmp_path):
    arguments = [
        "fewshot.cli.main", "experiment=debug", "episodes.train.episodes=400", "backbone.width=8", "trainer.threads=1",
        "training.validate_every=50", "training.checkpoint_every=10",
    ]  # fmt: skip
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    killed.mkdir()
    whole.mkdir()
    with subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=killed,
        env=os.environ | {"FEWSHOT_DATA": prepared},
        stdout=subprocess.DEVNULL,
    ) as process:
        deadline = time.monotonic() + 60
        while not list(killed.glob("runs/*/checkpoint.safetensors")) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert list(killed.glob("runs/*/checkpoint.safetensors"))
    assert not list(killed.glob("runs/*/row.json"))
    for folder, more in ((killed, ["resume=true"]), (whole, [])):
        done = command(*arguments, *more, cwd=folder, FEWSHOT_DATA=prepared)
        assert done.returncode == 0, done.stderr
    (a,), (b,) = killed.glob("runs/*"), whole.glob("runs/*")
    assert a.name == b.name
    for name in ("best.safetensors", "last.safetensors", "metrics.csv", "test_accuracies.npy"):
        assert (a / name).read_bytes() == (b / name).read_bytes(), name
    assert len(read(killed / "leaderboard.csv")) == 1


def test_two_processes_train_together_and_leave_one_row(prepared, tmp_path):
    done = command(
        "fewshot.cli.main", "experiment=debug", "trainer.accelerator=cpu", "trainer.devices=2", "training.tasks_per_step=4",
        cwd=tmp_path, FEWSHOT_DATA=prepared,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(read(tmp_path / "leaderboard.csv")) == 1
    assert len(list(tmp_path.glob("runs/*"))) == 1
    uneven = command(
        "fewshot.cli.main",
        "experiment=debug",
        "trainer.accelerator=cpu",
        "trainer.devices=2",
        cwd=tmp_path,
        FEWSHOT_DATA=prepared,
    )
    assert uneven.returncode != 0
    assert "use a multiple of 2" in uneven.stderr
