"""Device, precision and processes, by Lightning Fabric."""

import logging
import os
import warnings
from dataclasses import dataclass

import torch

from fewshot.device import cpu_cores, given_threads, keep_freed_memory
from fewshot.errors import FewshotError
from fewshot.training.lightning import DDPStrategy, Fabric, LightningEnvironment

# Fabric tells of each process that begins.
logging.getLogger("lightning_fabric").setLevel(logging.WARNING)

_PRECISIONS = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}


@dataclass(frozen=True)
class Trainer:
    """Where and in what numbers training runs.

    Args:
        accelerator: `auto` takes a GPU where there is one; or `cpu`, `cuda` (`gpu`), `mps`.
        devices: how many processes with a device each; more than one split the tasks of a step, and tests.
        precision: `32`, `bf16` or `16` (mixed precision; 16 needs a GPU).
        channels_last: memory layout of images and convolutions; the same function, faster on CPUs and tensor cores.
        compile: run the backbone through `torch.compile`.
        threads: CPU threads per process; null takes the cores there are, or what a launcher of jobs gave this one, shared by processes.
        deterministic: refuse operations whose result may differ from run to run on a GPU.
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
        FewshotError: unknown precision or accelerator, no such device here, or 16-bit floats on a CPU.
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
        FewshotError: unknown precision or accelerator, no such device here, or 16-bit floats on a CPU.
    """
    if str(trainer.precision) not in _PRECISIONS:
        raise FewshotError(f"trainer.precision={trainer.precision}; expected one of {', '.join(_PRECISIONS)}")
    gpu_here = torch.accelerator.is_available()
    accelerator = "cuda" if trainer.accelerator == "gpu" else trainer.accelerator
    if accelerator not in ("auto", "cpu", "cuda", "mps"):
        raise FewshotError(f"trainer.accelerator={accelerator}; expected auto, cpu, cuda or mps")
    if (accelerator == "cuda" and not torch.cuda.is_available()) or (
        accelerator == "mps" and not torch.backends.mps.is_available()
    ):
        raise FewshotError(f"trainer.accelerator={trainer.accelerator}, but no such device is here; use auto or cpu")
    if accelerator == "auto" and not gpu_here:
        accelerator = "cpu"
    if trainer.precision == "16" and accelerator == "cpu":
        raise FewshotError("trainer.precision=16 needs a GPU; use 32 or bf16 on a CPU")
    if trainer.devices < 1:
        raise FewshotError(f"trainer.devices={trainer.devices}; expected at least 1")
    if accelerator == "cuda" and trainer.devices > torch.cuda.device_count():
        raise FewshotError(f"trainer.devices={trainer.devices}, but {torch.cuda.device_count()} GPUs are here")
    if trainer.threads is not None and trainer.threads < 1:
        raise FewshotError(f"trainer.threads={trainer.threads}; expected at least 1, or null")
    strategy = "auto"
    if trainer.devices > 1:
        # A head may have weights that a step does not use. The cluster's own environment may have other numbers of processes.
        strategy = DDPStrategy(
            start_method=start_method, cluster_environment=LightningEnvironment(), find_unused_parameters=True
        )
    with warnings.catch_warnings():
        # Fabric advises on files and environments that are none of a user's concern here.
        warnings.simplefilter("ignore")
        return Fabric(
            accelerator=accelerator,
            devices=trainer.devices,
            precision=_PRECISIONS[str(trainer.precision)],
            strategy=strategy,
        )
