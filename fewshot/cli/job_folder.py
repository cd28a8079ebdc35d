"""The folder of a sweep's job: its configuration, what it printed, and how it ended."""

import json
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from fewshot.errors import FewshotError
from fewshot.files import write_text

# Of each job: how it ended, its configuration, and what it printed.
JOB, CONFIG, LOG = "job.json", "config.yaml", "log.txt"


def begin(folder: Path, config: DictConfig, job: tuple[int, list[str]]) -> dict:
    """Say in a job's folder that it runs; a sweep that ends before the job does takes it for killed.

    Args:
        folder: of the job.
        config: of the job.
        job: its number and overrides.
    """
    told = {"number": job[0], "overrides": job[1], "state": "running"}
    write_text(folder / CONFIG, OmegaConf.to_yaml(config))
    write_job(folder, told)
    return told


def record_failure(folder: Path, config: DictConfig, told: dict, reason: str) -> None:
    """Say in a job's folder and in its leaderboard that it failed.

    Args:
        folder: of the job.
        config: of the job.
        told: what its folder says of it so far.
        reason: one line.
    """
    # With these comes torch, for which the report of a sweep need not wait.
    from fewshot.cli.failed_row import failed_row
    from fewshot.leaderboard.table import append

    if config.get("leaderboard"):
        try:
            append(config.leaderboard, failed_row(config, told["overrides"], reason, folder))
        except FewshotError as error:
            # The leaderboard itself may be why the job failed.
            reason = f"{reason} ({error})"
    write_job(folder, told | {"state": "failed", "reason": reason})


def write_job(folder: Path, told: dict) -> None:
    """Say in a job's folder what is known of it."""
    write_text(folder / JOB, json.dumps(told, indent=1) + "\n")
