"""How the jobs of a sweep ended, read from their folders."""

import json
from dataclasses import dataclass
from pathlib import Path

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from fewshot.cli.job_folder import CONFIG, JOB, LOG, record_failure

_KILLED = "the job's process ended without a word; it may have been killed for want of memory"


class SweepFolder(Callback):
    """Hydra's callback that finds a folder for a sweep which no other has, and remembers it for the report."""

    last: Path | None = None

    def on_multirun_start(self, config: DictConfig, **_) -> None:
        wanted = Path(str(config.hydra.sweep.dir))
        folder, number = wanted, 1
        while True:
            try:
                folder.mkdir(parents=True)
                break
            except FileExistsError:
                number += 1
                folder = wanted.with_name(f"{wanted.name}~{number}")
            except OSError:
                # The first job will say that nothing can be written.
                break
        with read_write(config), open_dict(config):
            config.hydra.sweep.dir = str(folder)
        SweepFolder.last = folder


@dataclass(frozen=True)
class SweepReport:
    """What became of the jobs that were started.

    Args:
        folder: of the sweep.
        jobs: what each job's folder says, by the job's number.
    """

    folder: Path
    jobs: list[dict]

    @property
    def failed(self) -> list[dict]:
        return [job for job in self.jobs if job["state"] == "failed"]

    def __str__(self) -> str:
        states = [job["state"] for job in self.jobs]
        counts = [f"{states.count(state)} {state}" for state in ("done", "there already", "failed") if state in states]
        text = f"{len(states)} jobs: {', '.join(counts)}"
        if not self.failed:
            return f"{text}; {self.folder}"
        numbers = ",".join(str(job["number"]) for job in self.failed)
        where = numbers if len(self.failed) == 1 else f"{{{numbers}}}"
        return f"{text}; why: fewshot-leaderboard show --failed, and {self.folder}/{where}/{LOG}"


def sweep_report(folder: Path) -> SweepReport:
    """Read how jobs ended; those that are still said to run, when their sweep has ended, failed.

    Args:
        folder: of a sweep that has ended.
    """
    jobs = []
    for path in folder.glob(f"*/{JOB}"):
        job = json.loads(path.read_text(encoding="utf-8"))
        if job["state"] == "running":
            record_failure(path.parent, OmegaConf.load(path.parent / CONFIG), job, _KILLED)
            job = json.loads(path.read_text(encoding="utf-8"))
        jobs.append(job)
    return SweepReport(folder, sorted(jobs, key=lambda job: job["number"]))
