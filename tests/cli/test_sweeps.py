"""Sweeps: jobs one after another, beside each other, on Ray, and as Optuna chooses; failures, and what is there already."""

import csv
import json
import os
import subprocess
import sys

import pytest

from fewshot.errors import FewshotError
from fewshot.leaderboard.table import read, read_failed
from fewshot.training.fabric import gpu_of_job

TINY = ("episodes.train.episodes=10", "episodes.val.episodes=10")


def report(capsys) -> str:
    return capsys.readouterr().out.strip().splitlines()[-1]


def job_folders(tmp_path) -> dict[int, dict]:
    told = [json.loads(path.read_text()) for path in tmp_path.glob("runs/sweeps/*/*/job.json")]
    return {job["number"]: job for job in told}


def test_a_failed_job_leaves_a_row_with_its_reason_and_stops_no_other(fewshot, tmp_path, capsys):
    assert fewshot(*TINY, "head.temperature=1.0,-1.0,2.0", "leaderboard=one.csv", flags=("-m",)) == 1
    last = report(capsys)
    assert last.startswith("3 jobs: 2 done, 1 failed; why: fewshot-leaderboard show --failed, and runs/sweeps/")
    assert last.endswith("/1/log.txt")
    assert read("one.csv")["head"].tolist() == ["prototype", "prototype(temperature=2.0)"]
    (row,) = read_failed("one.csv").to_dict("records")
    assert row["failed"] == "head.temperature=-1.0; expected more than 0"
    assert (row["head"], row["seed"], row["way"]) == ("prototype(temperature=-1.0)", 0, 5)
    assert "Traceback" in (tmp_path / row["run"] / "log.txt").read_text()
    assert "meta-test" in (tmp_path / "runs" / "sweeps" / row["run"].split("/")[-2] / "0" / "log.txt").read_text()
    assert [job["state"] for _, job in sorted(job_folders(tmp_path).items())] == ["done", "failed", "done"]


def test_each_job_has_a_gpu_of_its_own_where_there_are_several(fewshot, monkeypatch):
    taken = []

    def run(config, overrides):
        taken.append(gpu_of_job.get())
        raise FewshotError("enough")

    monkeypatch.setattr("fewshot.cli.sweep_job.run", run)
    assert fewshot(*TINY, "seed=0,1,2", flags=("-m",)) == 1
    assert taken == [0, 1, 2]
    assert gpu_of_job.get() == 0, "it is the job's alone"


def test_a_configuration_that_tells_nothing_of_itself_still_leaves_its_reason(fewshot, tmp_path):
    assert fewshot(*TINY, "episodes.test.way=five,50", "leaderboard=one.csv", flags=("-m",)) == 1
    reasons = read_failed("one.csv")
    assert "way='five'" in reasons["failed"][0]
    assert reasons["way"].isna().tolist() == [True, False]


def test_a_choice_that_does_not_exist_is_refused_before_any_job(fewshot, tmp_path, capsys):
    assert fewshot(*TINY, "head=prototype,nothing", flags=("-m",)) == 2
    assert "head=nothing is no choice" in capsys.readouterr().err
    assert not (tmp_path / "leaderboard.csv").exists()


def test_the_same_sweep_again_runs_what_is_missing(fewshot, tmp_path, capsys):
    assert fewshot(*TINY, "seed=0,1", flags=("-m",)) == 0
    before = read("leaderboard.csv")
    capsys.readouterr()
    assert fewshot(*TINY, "seed=0,1,2", "skip_existing=true", flags=("-m",)) == 0
    assert "3 jobs: 1 done, 2 there already" in report(capsys)
    after = read("leaderboard.csv")
    assert after["seed"].tolist() == [0, 1, 2]
    assert after["config_hash"].tolist()[:2] == before["config_hash"].tolist(), "skipping is no part of an experiment"
    # Jobs that were skipped tell a sweeper what the runs found.
    jobs = job_folders(tmp_path)
    assert {job["validation_accuracy"] is None for job in jobs.values()} == {False}


def test_rows_of_some_of_the_tests_are_not_all_of_them(fewshot, tmp_path, capsys):
    heads = "heads=[own,ridge]"
    assert fewshot(*TINY, heads, "unbalanced=null") == 0
    board = tmp_path / "leaderboard.csv"
    board.write_bytes(b"".join(board.read_bytes().splitlines(keepends=True)[:-1]))
    assert fewshot(*TINY, heads, "unbalanced=null", "skip_existing=true") == 0
    assert len(read("leaderboard.csv")) == 3
    assert fewshot(*TINY, heads, "unbalanced=null", "skip_existing=true") == 0
    assert "nothing to do: rows" in capsys.readouterr().out
    assert len(read("leaderboard.csv")) == 3


@pytest.mark.parametrize("words", ["mode=train", "leaderboard=null"])
def test_skipping_where_there_are_no_rows_is_refused(fewshot, capfd, words):
    assert fewshot("skip_existing=true", words) == 2
    assert "skip_existing=true looks for rows" in capfd.readouterr().err


def test_beside_each_other_they_find_the_same_numbers_on_their_share_of_threads(fewshot, monkeypatch):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    choices = (*TINY, "seed=0,1", "trainer.threads=null")
    joblib = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    assert fewshot(*choices, *joblib, "leaderboard=two.csv", flags=("-m",), without=("trainer.threads=1",)) == 0
    assert fewshot(*choices, "leaderboard=one.csv", flags=("-m",), without=("trainer.threads=1",)) == 0
    one, two = read("one.csv"), read("two.csv").sort_values("seed")
    assert one["accuracy"].tolist() == pytest.approx(two["accuracy"].tolist(), abs=0.5)
    assert one["config_hash"].tolist() == two["config_hash"].tolist()
    from fewshot.device import cpu_cores

    assert set(two["device"]) == {f"cpu x{max(1, cpu_cores() // 2)}"}


KILLER = """
import os, signal, torch
class Killer(torch.nn.Module):
    transductive = False
    def __init__(self, **options):
        super().__init__()
    def forward(self, episodes):
        os.kill(os.getpid(), signal.SIGKILL)
"""


def started(tmp_path, images, *words) -> subprocess.CompletedProcess:
    from .conftest import SMALL

    (tmp_path / "mine.py").write_text(KILLER)
    (tmp_path / "images").exists() or (tmp_path / "images").symlink_to(images)
    here = os.pathsep.join([str(tmp_path), *sys.path])
    command = [sys.executable, "-m", "fewshot.cli.main", "-m", *SMALL, *TINY, *words]
    return subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": here}, capture_output=True, text=True, timeout=300
    )


@pytest.fixture
def ray_is_here():
    pytest.importorskip("ray")


def test_on_ray_a_job_that_is_killed_takes_no_other_with_it(ray_is_here, tmp_path, images):
    words = ("hydra/launcher=ray", "hydra.launcher.init.num_cpus=2", "seed=0", "name=${head._target_}")
    targets = "head._target_=fewshot.heads.prototype.PrototypeHead,mine.Killer"
    ended = started(tmp_path, images, *words, targets)
    assert ended.returncode == 1, ended.stderr
    assert "2 jobs: 1 done, 1 failed" in ended.stdout
    assert read(tmp_path / "leaderboard.csv")["head"].tolist() == ["prototype"]
    (row,) = read_failed(tmp_path / "leaderboard.csv").to_dict("records")
    assert "ended without a word" in row["failed"]


def test_optuna_maximises_the_accuracy_on_validation_classes(fewshot, tmp_path, capsys):
    pytest.importorskip("optuna")
    study = ("hydra/sweeper=optuna", "hydra.sweeper.storage=sqlite:///study.db", "mode=train")
    # The rate alone tells a training that does nothing from one that works; one that fails is no trial of a value.
    space = ("optimizer.lr=interval(1e-4,1e-2)", "head.temperature=1.0,-1.0")
    assert fewshot(*TINY, *study, *space, "hydra.sweeper.n_trials=4", flags=("-m",)) in (0, 1)
    out = capsys.readouterr().out
    (trials,) = tmp_path.glob("runs/sweeps/*/trials.csv")
    with open(trials, newline="") as file:
        found = list(csv.DictReader(file))
    jobs = job_folders(tmp_path)
    assert len(found) == len(jobs) == 4
    for trial, (_, job) in zip(found, sorted(jobs.items()), strict=True):
        failed = trial["params_head.temperature"] == "-1.0"
        assert trial["state"] == ("FAIL" if failed else "COMPLETE")
        assert f"optimizer.lr={trial['params_optimizer.lr']}" in job["overrides"]
        assert failed or float(trial["value"]) == job["validation_accuracy"]
    values = [float(trial["value"]) for trial in found if trial["value"]]
    assert f"{max(values):.2f}% on validation classes" in out
    assert not (tmp_path / "leaderboard.csv").exists() or read("leaderboard.csv").empty, "nothing was tested"
    # Trials that are in the study are not done again.
    done = sum(trial["state"] == "COMPLETE" for trial in found)
    fewshot(*TINY, *study, *space, f"hydra.sweeper.n_trials={done}", flags=("-m",))
    assert "best of 4 trials" in capsys.readouterr().out


def test_optuna_without_validation_or_a_choice_is_one_line(fewshot, capsys):
    pytest.importorskip("optuna")
    optuna = ("hydra/sweeper=optuna", "hydra.sweeper.n_trials=1")
    assert fewshot(*TINY, *optuna, flags=("-m",)) == 2
    assert "no key has several values" in capsys.readouterr().err
    assert fewshot(*TINY, *optuna, "seed=0,1", "training.validate_every=0", flags=("-m",)) == 2
    assert "this job has none" in capsys.readouterr().err


def test_submitit_submits_jobs_that_find_their_rows(fewshot, tmp_path):
    pytest.importorskip("submitit")
    assert fewshot(*TINY, "hydra/launcher=submitit_local", "seed=0,1", flags=("-m",)) == 0
    assert sorted(read("leaderboard.csv")["seed"]) == [0, 1]


def test_presets_compose_for_every_job():
    from hydra import compose, initialize_config_dir
    from hydra.core.override_parser.overrides_parser import OverridesParser

    from fewshot.resources import conf_folder

    presets = sorted(path.stem for path in (conf_folder() / "sweep").glob("*.yaml"))
    assert {"small", "search"} <= set(presets)
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        for preset in presets:
            params = compose("config", [f"sweep={preset}"], return_hydra_config=True).hydra.sweeper.params
            for override in OverridesParser.create().parse_overrides([f"{k}={v}" for k, v in params.items()]):
                assert override.is_sweep_override()
                for value in override.sweep_string_iterator() if override.is_discrete_sweep() else ():
                    compose("config", [f"{override.get_key_element()}={value}"])
