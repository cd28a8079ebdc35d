"""One job of a sweep: it leaves what it printed and how it ended in a folder of its own, and lets the others go on."""

import contextlib
import json
import math
import time
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from fewshot.cli.failed_row import failed_row, reason_of
from fewshot.cli.run import run
from fewshot.cli.sweep_report import CONFIG, JOB, LOG
from fewshot.errors import FewshotError
from fewshot.files import write_text
from fewshot.leaderboard.table import append


def sweep_job(config: DictConfig, overrides: Iterable[str]) -> float | None:
    """Do what `config` says; a failure becomes a row of the leaderboard with its reason.

    Args:
        config: of this job.
        overrides: what was typed, with this job's choice.

    Returns:
        Accuracy on validation classes in percent, which a sweeper may maximise: never one of a test. None if there is none, NaN
        if the job failed.
    """
    overrides = list(overrides)
    folder, number = Path(HydraConfig.get().runtime.output_dir), HydraConfig.get().job.num
    told = begin(folder, config, (number, overrides))
    text, started = " ".join(overrides), time.perf_counter()
    print(f"job {number}: {text}", flush=True)
    try:
        with _printed_to(folder / LOG):
            outcome = run(config, overrides)
    except Exception as error:
        reason = reason_of(error)
        with open(folder / LOG, "a", encoding="utf-8") as file:
            traceback.print_exception(error, file=file)
        record_failure(folder, config, told, reason)
        print(f"job {number} failed: {reason}", flush=True)
        return math.nan
    accuracy = outcome.validation_accuracy()
    told |= {
        "state": "there already" if outcome.existed else "done",
        "run": str(outcome.folder or ""),
        "validation_accuracy": accuracy,
        "accuracies": [row["accuracy"] for row in outcome.rows],
        "seconds": round(time.perf_counter() - started, 1),
    }
    _write(folder, told)
    tests = " ".join(f"{row['accuracy']:.2f} ± {row['ci95']:.2f}%" for row in outcome.rows)
    validated = "" if accuracy is None else f" (validation {accuracy:.2f}%)"
    print(f"job {number} {told['state']}, {told['seconds']:.0f} s: {tests or outcome.folder}{validated}", flush=True)
    return accuracy


def begin(folder: Path, config: DictConfig, job: tuple[int, list[str]]) -> dict:
    """Say in a job's folder that it runs; a sweep that ends before the job does takes it for killed.

    Args:
        folder: of the job.
        config: of the job.
        job: its number and overrides.
    """
    told = {"number": job[0], "overrides": job[1], "state": "running"}
    write_text(folder / CONFIG, OmegaConf.to_yaml(config))
    _write(folder, told)
    return told


def record_failure(folder: Path, config: DictConfig, told: dict, reason: str) -> None:
    """Say in a job's folder and in its leaderboard that it failed.

    Args:
        folder: of the job.
        config: of the job.
        told: what its folder says of it so far.
        reason: one line.
    """
    if config.get("leaderboard"):
        try:
            append(config.leaderboard, failed_row(config, told["overrides"], reason, folder))
        except FewshotError as error:
            # The leaderboard itself may be why the job failed.
            reason = f"{reason} ({error})"
    _write(folder, told | {"state": "failed", "reason": reason})


def _write(folder: Path, told: dict) -> None:
    write_text(folder / JOB, json.dumps(told, indent=1) + "\n")


@contextlib.contextmanager
def _printed_to(path: Path) -> Iterator[None]:
    """Jobs that run beside each other would print into each other's lines."""
    with open(path, "a", encoding="utf-8", buffering=1) as file, contextlib.redirect_stdout(file):
        yield
