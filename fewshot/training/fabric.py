"""Device, precision and processes, by Lightning Fabric."""

import logging
import os
import warnings
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta

import torch

from fewshot.device import cpu_cores, given_threads, keep_freed_memory
from fewshot.errors import FewshotError
from fewshot.training.lightning import DDPStrategy, Fabric, LightningEnvironment

# Fabric tells of each process that begins.
logging.getLogger("lightning_fabric").setLevel(logging.WARNING)

gpu_of_job: ContextVar[int] = ContextVar("gpu_of_job", default=0)
"""Which GPU a run with one of them takes, counted beyond the last from the first again: jobs of a sweep that run beside each other take different ones."""

_PRECISIONS = {"32": "32-true", "tf32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}


@dataclass(frozen=True)
class Trainer:
    """Where and in what numbers training runs.

    Args:
        accelerator: `auto` takes a GPU where there is one; or `cpu`, `cuda` (`gpu`), `mps`.
        devices: how many processes with a device each; more than one split the tasks of a step, and tests.
        precision: `32`, `bf16` or `16` (mixed precision; 16 needs a GPU); or `tf32`, which on a GPU of NVIDIA reads the factors of
            convolutions with 10 bits behind the point instead of 23. By itself PyTorch does so; `32` does not, nor does any test.
        channels_last: memory layout of images and convolutions; the same function, faster on CPUs and tensor cores.
        compile: run the backbone through `torch.compile`.
        threads: CPU threads per process; null takes the cores there are, or what a launcher of jobs gave this one, shared by processes.
        deterministic: refuse operations whose result may differ from run to run on a GPU. In a process that has used the GPU already,
            cuBLAS wants CUBLAS_WORKSPACE_CONFIG=:4096:8 to be set before.
    """

    accelerator: str = "auto"
    devices: int = 1
    precision: str = "32"
    channels_last: bool = True
    compile: bool = False
    threads: int | None = None
    deterministic: bool = False


def make_fabric(trainer: Trainer) -> Fabric:
    """A launched Fabric for `trainer`, with the CPU set up to be fast.

    With several devices Fabric starts the program once more for each; `in_processes` calls a function instead.

    Raises:
        FewshotError: unknown precision or accelerator, no such device here, or one that cannot do what is asked for.
    """
    fabric = new_fabric(trainer)
    set_up(trainer)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fabric.launch()
    return fabric


def set_up(trainer: Trainer) -> None:
    """Make this process fast, on its share of the cores."""
    keep_freed_memory()
    given = given_threads()
    if trainer.threads or given or trainer.devices > 1:
        torch.set_num_threads(trainer.threads or max(1, (given or cpu_cores()) // trainer.devices))
    torch.backends.cudnn.allow_tf32 = str(trainer.precision) == "tf32"
    if trainer.deterministic:
        # cuBLAS adds in a fixed order in a workspace of its own, and asks for this before it is first used.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(trainer.deterministic)


def new_fabric(trainer: Trainer, start_method: str = "popen") -> Fabric:
    """A Fabric for `trainer` that is not launched yet.

    Args:
        trainer: where and in what numbers.
        start_method: of processes where there are several: `popen` for the program once more, `spawn` for a function.

    Raises:
        FewshotError: unknown precision or accelerator, no such device here, or one that cannot do what is asked for.
    """
    if str(trainer.precision) not in _PRECISIONS:
        raise FewshotError(f"trainer.precision={trainer.precision}; expected one of {', '.join(_PRECISIONS)}")
    asked = "cuda" if trainer.accelerator == "gpu" else trainer.accelerator
    if asked not in ("auto", "cpu", "cuda", "mps"):
        raise FewshotError(f"trainer.accelerator={asked}; expected auto, cpu, cuda or mps")
    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    accelerator = asked
    if asked == "auto":
        accelerator = next(name for name, there in here.items() if there)
        # Of another make, Fabric may know it.
        if accelerator == "cpu" and torch.accelerator.is_available():
            accelerator = "auto"
    elif not here[asked]:
        raise FewshotError(f"trainer.accelerator={trainer.accelerator}, but no such device is here; use auto or cpu")
    precision = str(trainer.precision)
    if precision == "16" and accelerator == "cpu":
        raise FewshotError("trainer.precision=16 needs a GPU; use 32 or bf16 on a CPU")
    if precision == "tf32" and accelerator in ("cpu", "mps"):
        raise FewshotError("trainer.precision=tf32 needs a GPU of NVIDIA; use 32 or bf16")
    if trainer.devices < 1:
        raise FewshotError(f"trainer.devices={trainer.devices}; expected at least 1")
    gpus = {"cuda": torch.cuda.device_count(), "mps": 1}.get(accelerator)
    if gpus is not None and trainer.devices > gpus:
        raise FewshotError(
            f"trainer.devices={trainer.devices}, but {gpus} GPU{' is' if gpus == 1 else 's are'} here; use as many, or accelerator=cpu"
        )
    if trainer.threads is not None and trainer.threads < 1:
        raise FewshotError(f"trainer.threads={trainer.threads}; expected at least 1, or null")
    strategy = "auto"
    if trainer.devices > 1:
        # A head may have weights that a step does not use. The cluster's own environment may have other numbers of processes.
        # The first process tunes and diagnoses alone, however long that takes: the others wait. One that ends takes all with it at once.
        strategy = DDPStrategy(
            start_method=start_method,
            cluster_environment=LightningEnvironment(),
            timeout=timedelta(days=2),
            find_unused_parameters=True,
        )
    with warnings.catch_warnings():
        # Fabric advises on files and environments that are none of a user's concern here.
        warnings.simplefilter("ignore")
        one_of_several = accelerator == "cuda" and trainer.devices == 1
        return Fabric(
            accelerator=accelerator,
            devices=[gpu_of_job.get() % gpus] if one_of_several else trainer.devices,
            precision=_PRECISIONS[precision],
            strategy=strategy,
        )
