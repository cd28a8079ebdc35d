"""`fewshot`: the Hydra app."""

import os
import sys

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from fewshot.cli.hydra_errors import explain
from fewshot.cli.one_line_errors import one_line_errors
from fewshot.errors import FewshotError
from fewshot.resources import conf_folder


def main() -> None:
    """The console command `fewshot`."""
    # Hydra would print several lines of its own and hide the cause; here errors become one line.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    with one_line_errors("fewshot", "interrupted; the same command with resume=true goes on from the last checkpoint"):
        app = hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name="config")(_task)
        try:
            app()
        except (HydraException, OmegaConfBaseException) as error:
            raise FewshotError(explain(error)) from error


def _task(config: DictConfig) -> None:
    # Help and composition errors need not wait for torch.
    from fewshot.cli.run import run

    overrides = list(HydraConfig.get().overrides.task)
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        # The sweep goes on with the next run and reports this one at the end.
        run(config, overrides)
        return
    with one_line_errors("fewshot"):
        run(config, overrides)


if __name__ == "__main__":
    sys.exit(main())
