"""One job of a sweep: it leaves what it printed and how it ended in a folder of its own, and lets the others go on."""

import contextlib
import math
import time
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from fewshot.cli.failed_row import reason_of
from fewshot.cli.job_folder import LOG, begin, record_failure, write_job
from fewshot.cli.run import run
from fewshot.evaluation.accuracies import accuracy_text
from fewshot.training.fabric import gpu_of_job


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
        with _printed_to(folder / LOG), _on_its_gpu(number):
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
    write_job(folder, told)
    tests = " ".join(f"{accuracy_text(row['accuracy'], row['ci95'])}%" for row in outcome.rows)
    validated = "" if accuracy is None else f" (validation {accuracy:.2f}%)"
    print(f"job {number} {told['state']}, {told['seconds']:.0f} s: {tests or outcome.folder}{validated}", flush=True)
    return accuracy


@contextlib.contextmanager
def _on_its_gpu(number: int) -> Iterator[None]:
    token = gpu_of_job.set(number)
    try:
        yield
    finally:
        gpu_of_job.reset(token)


@contextlib.contextmanager
def _printed_to(path: Path) -> Iterator[None]:
    """Jobs that run beside each other would print into each other's lines."""
    with open(path, "a", encoding="utf-8", buffering=1) as file, contextlib.redirect_stdout(file):
        yield
