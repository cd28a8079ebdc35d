"""Choices of a sweep that Optuna makes, by what jobs return: their accuracy on validation classes."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from fewshot.errors import FewshotError


class OptunaSweeper(Sweeper):
    """Asks Optuna for each job's values and tells it the accuracy on validation classes, to be maximised.

    A key's values are `interval(0.001,0.1)`, `tag(log,interval(1e-4,1e-1))`, `range(1,6)` or `a,b,c`. A job that fails is a trial
    that failed. The trials lie in `trials.csv` of the sweep's folder.

    Args:
        n_trials: in all; with a `storage`, those that it has are not done again.
        n_jobs: trials that are asked for at a time, for a launcher that runs them beside each other.
        sampler: of Optuna.
        storage: where Optuna keeps the study, such as `sqlite:///study.db`; None keeps it in memory.
        study_name: in the storage.
        params: values by key, beside those of the command line.

    Source: Akiba et al., Optuna: A Next-generation Hyperparameter Optimization Framework, KDD 2019.
    """

    def __init__(
        self, n_trials: int, n_jobs: int, sampler: Any, storage: str | None, study_name: str, params: DictConfig | None
    ) -> None:
        self.n_trials, self.n_jobs, self.sampler = n_trials, n_jobs, sampler
        self.storage, self.study_name, self.params = storage, study_name, dict(params or {})

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        import optuna

        if self.n_trials < 1 or self.n_jobs < 1:
            raise FewshotError(
                f"hydra.sweeper.n_trials={self.n_trials}, n_jobs={self.n_jobs}; expected at least 1 of both"
            )
        fixed, space = self._space(arguments)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        storage = optuna.storages.get_storage(self.storage)
        study = optuna.create_study(
            direction="maximize", sampler=self.sampler, storage=storage, study_name=self.study_name, load_if_exists=True
        )  # fmt: skip
        try:
            self._search(study, fixed, space)
        finally:
            _close(storage)

    def _search(self, study: Any, fixed: Sequence[str], space: dict[str, Any]) -> None:
        import optuna

        folder, number = Path(str(self.config.hydra.sweep.dir)), 0
        there = len(study.get_trials(states=[optuna.trial.TrialState.COMPLETE]))
        while number < self.n_trials - there:
            trials = [study.ask(space) for _ in range(min(self.n_jobs, self.n_trials - there - number))]
            batch = [[*fixed, *(f"{key}={value}" for key, value in trial.params.items())] for trial in trials]
            self.validate_batch_is_legal(batch)
            for trial, job in zip(trials, self.launcher.launch(batch, initial_job_idx=number), strict=True):
                accuracy = job.return_value
                if accuracy is None:
                    raise FewshotError(
                        "the Optuna sweeper maximises the accuracy on validation classes, and this job has none; train "
                        "(mode=train_and_test or mode=train) on data with a validation split, with training.validate_every>0"
                    )
                if math.isnan(accuracy):
                    study.tell(trial, state=optuna.trial.TrialState.FAIL)
                else:
                    trial.set_user_attr("run", _run_of(folder / str(number)))
                    study.tell(trial, accuracy)
                number += 1
            folder.mkdir(parents=True, exist_ok=True)
            study.trials_dataframe(("number", "value", "params", "user_attrs", "state")).to_csv(
                folder / "trials.csv", index=False
            )
        if not study.get_trials(states=[optuna.trial.TrialState.COMPLETE]):
            return
        best = study.best_trial
        values = " ".join(f"{key}={value}" for key, value in best.params.items())
        print(f"best of {len(study.trials)} trials: {values}, {best.value:.2f}% on validation classes")
        print(f"its test: fewshot mode=test checkpoint={best.user_attrs['run']}/best.safetensors")

    def _space(self, arguments: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
        """Overrides that stay, and Optuna's distributions of those that have several values."""
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        given = {
            o.get_key_element(): o
            for o in parser.parse_overrides([*(f"{k}={v}" for k, v in self.params.items()), *arguments])
        }
        space = {key: _distribution(override) for key, override in given.items() if override.is_sweep_override()}
        if not space:
            raise FewshotError(
                "no key has several values to choose from; give some, such as 'optimizer.lr=tag(log,interval(1e-4,1e-1))'"
            )
        return [override.input_line for key, override in given.items() if key not in space], space


def _close(storage: Any) -> None:
    """Close the connections to a study's database, which optuna keeps until the program ends."""
    database = getattr(storage, "_backend", storage)
    if hasattr(database, "engine"):
        database.remove_session()
        database.engine.dispose()


def _distribution(override: Override) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if override.is_discrete_sweep():
        return CategoricalDistribution(list(override.sweep_string_iterator()))
    value = override.value()
    if not isinstance(value, IntervalSweep):
        raise FewshotError(f"{override.input_line}: expected interval(a,b), range(a,b) or values with commas")
    whole = isinstance(value.start, int) and isinstance(value.end, int)
    kind, log = (IntDistribution if whole else FloatDistribution), "log" in value.tags
    try:
        return kind(value.start, value.end, log=log)
    except ValueError as error:
        raise FewshotError(f"{override.input_line}: {error}") from error


def _run_of(folder: Path) -> str:
    return json.loads((folder / "job.json").read_text(encoding="utf-8"))["run"]
