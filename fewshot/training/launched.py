"""A function in several processes of this machine, which fail together."""

import json
import os
import sys
import tempfile
import warnings
from collections.abc import Callable
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from typing import Any

import cloudpickle
import torch
from torch.multiprocessing import ProcessExitedException, ProcessRaisedException

from fewshot.errors import FewshotError
from fewshot.training.fabric import Trainer, new_fabric, set_up
from fewshot.training.lightning import Fabric

_RESULT, _ERROR = "result", "error.json"


def in_processes(trainer: Trainer, function: Callable[..., Any], *given: Any) -> Any:
    """Call `function(fabric, *given)` in `trainer.devices` processes; what the first one returns.

    Where one fails or is killed the others are ended, and its error is raised here.

    Args:
        trainer: with two devices or more.
        function: its first argument is the launched Fabric.
        given: the others.

    Raises:
        FewshotError: that of a process, or one was killed.
        RuntimeError: any other error of a process.
    """
    fabric = new_fabric(trainer, "spawn")
    # Torch would advise, in each process, to leave out a search for unused weights that some learners need.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    with tempfile.TemporaryDirectory() as folder:
        error = Path(folder) / _ERROR
        try:
            # As bytes: what Hydra knows has functions inside functions, which pickle alone cannot take, and Fabric's launcher
            # looks into what it is given for tensors.
            called = cloudpickle.dumps((trainer, function, given))
            fabric.launch(_in_one, folder, _printed_to(), called)
            # The launcher's own way back hangs for results of more than a pipe holds.
            return cloudpickle.loads((Path(folder) / _RESULT).read_bytes())
        except (ProcessExitedException, ProcessRaisedException) as ended:
            signal = getattr(ended, "signal_name", None)
            if signal:
                raise FewshotError(
                    f"process {ended.error_index} of {trainer.devices} was ended by {signal}, perhaps for want of memory; "
                    f"resume=true goes on from the last checkpoint"
                ) from ended
            if not error.exists():
                raise
            told = json.loads(error.read_text(encoding="utf-8"))
            kind = FewshotError if told["ours"] else RuntimeError
            raise kind(told["text"] if told["ours"] else f"process {told['rank']}: {told['text']}") from ended


def _in_one(fabric: Fabric, folder: str, printed_to: str | None, called: bytes) -> None:
    # Of the layout of gradients of a network that is channels-last: no error, as it says.
    warnings.filterwarnings("ignore", message="Grad strides do not match")
    with ExitStack() as stack:
        if printed_to:
            file = stack.enter_context(open(printed_to, "a", encoding="utf-8", buffering=1))
            stack.enter_context(redirect_stdout(file))
        try:
            trainer, function, given = cloudpickle.loads(called)
            set_up(trainer)
            result = function(fabric, *given)
            if fabric.is_global_zero:
                (Path(folder) / _RESULT).write_bytes(cloudpickle.dumps(result))
            # A process that ends early would end the connection of those that still write.
            fabric.barrier()
            torch.distributed.destroy_process_group()
        except Exception as found:
            _tell_first(Path(folder) / _ERROR, fabric.global_rank, found)
            raise


def _tell_first(error: Path, rank: int, found: Exception) -> None:
    """The first process to fail tells why; what others then find is that it is gone."""
    ours = isinstance(found, FewshotError)
    text = str(found) if ours else f"{type(found).__name__}: {found}"
    try:
        with open(error, "x", encoding="utf-8") as file:
            json.dump({"ours": ours, "rank": rank, "text": text}, file)
    except FileExistsError:
        pass


def _printed_to() -> str | None:
    """The file that a job of a sweep prints to."""
    name = getattr(sys.stdout, "name", None)
    return (
        str(Path(name).resolve())
        if sys.stdout is not sys.__stdout__ and isinstance(name, str) and Path(name).is_file()
        else None
    )
