"""Jobs of a sweep as tasks of Ray, on this machine or a cluster."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, configure_log, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from fewshot.errors import FewshotError


class RayLauncher(Launcher):
    """Each job is a task of Ray in a process of its own; a process that is killed takes no other job with it.

    Machines of a cluster share the working folder under one name, as they share the leaderboard.

    Args:
        init: arguments of `ray.init`; `address: auto` joins a cluster.
        remote: what a job takes, as `ray.remote` has it: `num_cpus` (also its threads), `num_gpus`, `resources`.
    """

    def __init__(self, init: DictConfig, remote: DictConfig) -> None:
        self.init, self.remote = (OmegaConf.to_container(OmegaConf.create(node)) for node in (init, remote))

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        # Ray would tell its makers of each start.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
        except ModuleNotFoundError as error:
            raise FewshotError("hydra/launcher=ray needs Ray; pip install 'fewshot[ray]'") from error
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        Path(str(self.config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
        if not ray.is_initialized():
            try:
                ray.init(**self.init)
            except (ConnectionError, TypeError, ValueError) as error:
                raise FewshotError(f"ray.init refuses {self.init}: {' '.join(str(error).split())}") from error
        # A process for each job: what one leaves behind, such as memory or threads, does not reach the next.
        task = ray.remote(max_calls=1, max_retries=0, **self.remote)(_run)
        given = [(initial_job_idx + place, list(overrides)) for place, overrides in enumerate(job_overrides)]
        shared = ray.put((os.getcwd(), self.hydra_context, self.config, self.task_function, Singleton.get_state()))
        running = [task.remote(shared, number, overrides) for number, overrides in given]
        return [self._result(ray, *job) for job in zip(running, given, strict=True)]

    def _result(self, ray: Any, running: Any, given: tuple[int, list[str]]) -> JobReturn:
        try:
            return ray.get(running)
        except ray.exceptions.RayTaskError as error:
            raise FewshotError(f"Ray cannot start job {given[0]}: {str(error).splitlines()[-1]}") from error
        except ray.exceptions.RayError:
            from fewshot.cli.job_folder import begin

            # The report of the sweep finds a job that began and did not end.
            number, overrides = given
            config = _job_config(self.hydra_context, self.config, number, overrides)
            begin(Path(str(config.hydra.sweep.dir)) / str(number), OmegaConf.masked_copy(config, _own(config)), given)
            return JobReturn(overrides=overrides, status=JobStatus.COMPLETED, _return_value=float("nan"))


def _own(config: DictConfig) -> list[str]:
    return [key for key in config if key != "hydra"]


def _run(shared: tuple[str, HydraContext, DictConfig, TaskFunction, Mapping], number: int, overrides: list[str]):
    folder, hydra_context, config, task_function, state = shared
    os.chdir(folder)
    setup_globals()
    Singleton.set_state(dict(state))
    config = _job_config(hydra_context, config, number, overrides)
    HydraConfig.instance().set_config(config)
    return run_job(
        hydra_context=hydra_context,
        config=config,
        task_function=task_function,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
    )


def _job_config(hydra_context: HydraContext, config: DictConfig, number: int, overrides: list[str]) -> DictConfig:
    config = hydra_context.config_loader.load_sweep_config(config, overrides)
    with open_dict(config):
        config.hydra.job.id = f"{config.hydra.job.name}_{number}"
        config.hydra.job.num = number
    return config
