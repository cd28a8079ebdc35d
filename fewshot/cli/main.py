"""`fewshot`: the Hydra app."""

import os
import sys
from concurrent.futures.process import BrokenProcessPool

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError

from fewshot import __version__
from fewshot.cli.checkpoint_keys import with_keys_of_checkpoint
from fewshot.cli.hydra_errors import explain, wrong_choice
from fewshot.cli.one_line_errors import one_line_errors
from fewshot.cli.sweep_report import SweepFolder, sweep_report
from fewshot.errors import FewshotError
from fewshot.resources import conf_folder


def main() -> None:
    """The console command `fewshot`; exit code 1 if jobs of a sweep failed."""
    # Hydra would print several lines of its own and hide the cause; here errors become one line.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    SweepFolder.last = None
    if "--version" in sys.argv[1:]:
        # Hydra would say its own.
        print(f"fewshot {__version__}")
        return
    sys.argv[1:] = with_keys_of_checkpoint(sys.argv[1:])
    with one_line_errors("fewshot", "interrupted; the same command with resume=true goes on from the last checkpoint"):
        app = hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name="config")(_task)
        try:
            app()
        except (HydraException, OmegaConfBaseException) as error:
            raise FewshotError(explain(error)) from error
        except (TypeError, ValueError) as error:
            if (wrong := wrong_choice(error)) is None:
                raise
            raise FewshotError(wrong) from error
        except MarkedYAMLError as error:
            place = str(error.problem_mark or error.context_mark).strip()
            raise FewshotError(f"not YAML: {error.problem} {place}") from error
        except BrokenProcessPool:
            # joblib ends all jobs with the one whose process was killed.
            print("a job's process was killed, which ended the sweep; the same command with skip_existing=true goes on")
        if SweepFolder.last is not None:
            report = sweep_report(SweepFolder.last)
            print(report)
            if report.failed:
                raise SystemExit(1)


def _task(config: DictConfig) -> float | None:
    # Help and composition errors need not wait for torch.
    overrides = list(HydraConfig.get().overrides.task)
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        from fewshot.cli.sweep_job import sweep_job

        return sweep_job(config, overrides)
    from fewshot.cli.run import run

    with one_line_errors("fewshot"):
        run(config, overrides)
    return None


if __name__ == "__main__":
    sys.exit(main())
