"""The machine: which device, what it is called, and how the CPU is made fast."""

import contextlib
import ctypes
import os
import platform
from collections.abc import Iterator
from functools import cache
from itertools import chain

import numpy as np
import torch

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3


@cache
def keep_freed_memory() -> bool:
    """Tell glibc to keep large freed blocks instead of giving them back to the kernel.

    Each training step frees and asks again for activations of many megabytes; by default every one
    of them is a new mapping whose pages fault one by one. The process keeps its peak memory instead.

    Returns:
        Whether the C library took the advice; False where it is not glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    gigabyte = 1 << 30
    return bool(
        mallopt(_M_MMAP_THRESHOLD, gigabyte)
        and mallopt(_M_TRIM_THRESHOLD, 2 * gigabyte - 1)
        and mallopt(_M_TOP_PAD, 64 << 20)
    )


@contextlib.contextmanager
def draws_kept() -> Iterator[None]:
    """Whatever is drawn or seeded inside, torch's generators of the CPU and of GPUs in use go on as if it had not been."""
    # GPUs that nothing was done with are not woken for this.
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.random.fork_rng(devices=devices):
        yield


def widest_float(device: torch.device | str) -> torch.dtype:
    """What sums are kept in: 64 bits, where the device has them; Apple's GPUs have not."""
    return torch.float32 if torch.device(device).type == "mps" else torch.float64


def wide(numbers: torch.Tensor) -> torch.Tensor:
    """Numbers in `widest_float` of their device."""
    return numbers.to(widest_float(numbers.device))


def device_of(module: torch.nn.Module, otherwise: torch.device) -> torch.device:
    """Where a module's weights and buffers are; `otherwise` for one that has none."""
    tensor = next(chain(module.parameters(), module.buffers()), None)
    return otherwise if tensor is None else tensor.device


def has_room(device: torch.device, size: int) -> bool:
    """Whether so many bytes fit into half of a GPU's free memory, the other half being for work with them; True for other devices."""
    if device.type != "cuda":
        return True
    # What torch keeps for later is free for it.
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return size <= (torch.cuda.mem_get_info(device)[0] + kept) / 2


@contextlib.contextmanager
def in_32_bits() -> Iterator[None]:
    """Convolutions inside read all bits of their factors, on a GPU of NVIDIA too, where PyTorch by itself leaves 13 of 32 out."""
    switches = torch.backends.cudnn
    try:
        before = switches.allow_tf32
    except RuntimeError:
        # The user has set PyTorch's newer switches, one by one, to what he wants.
        yield
        return
    switches.allow_tf32 = False
    try:
        yield
    finally:
        switches.allow_tf32 = before


def sent(numbers: np.ndarray, device: torch.device) -> torch.Tensor:
    """An array on a device, without waiting for what a GPU is doing; on a CPU the array itself, as a tensor."""
    tensor = torch.from_numpy(numbers)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def processes() -> int:
    """How many processes train together; 1 where there is but this one."""
    return torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1


def device_name(device: torch.device | str) -> str:
    """What a row says about where it ran, such as `cpu x2` or the name of a GPU."""
    device = torch.device(device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    if device.type == "cpu":
        name = f"cpu x{torch.get_num_threads()}"
    return name if processes() == 1 else f"{processes()} of {name}"


def given_threads() -> int | None:
    """Threads that a launcher of jobs gave to this process, by OMP_NUM_THREADS or SLURM; None where none did."""
    for name in ("OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK"):
        # OpenMP takes a list too, one number for each level of nested threads.
        number = os.environ.get(name, "").partition(",")[0]
        if number.isdecimal() and int(number):
            return int(number)
    return None


def cpu_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
