"""A device that is no device, for a machine without a GPU: `pretend_gpu` makes it the one that fewshot picks up."""

import subprocess
from pathlib import Path
from types import SimpleNamespace

import torch
from lightning_fabric.accelerators import CPUAccelerator
from lightning_fabric.strategies import SingleDeviceStrategy
from torch.utils import backend_registration

import fewshot.training.fabric as fewshot_fabric

NAME = "pretended"


def build(library: Path) -> None:
    """Compile `device.cpp`; some fifteen seconds of one core."""
    # It says that it found no GPU.
    from torch.utils import cpp_extension

    source = Path(__file__).with_name("device.cpp")
    headers = [option for folder in cpp_extension.include_paths() for option in ("-isystem", folder)]
    libraries = [f"-L{folder}" for folder in cpp_extension.library_paths()] + ["-lc10", "-ltorch_cpu"]
    options = ["-std=c++20", "-O0", "-fPIC", "-shared", *headers, "-o", str(library)]
    subprocess.run(["c++", *options, str(source), *libraries], check=True)


def pretend_gpu(library: Path) -> None:
    """Load the device into this process and have Fabric choose it wherever a GPU would be."""
    torch.ops.load_library(str(library))
    torch.utils.rename_privateuse1_backend(NAME)
    torch._C._acc.register_python_privateuseone_device_guard(backend_registration._DummyDeviceGuard())
    module = SimpleNamespace(
        is_available=lambda: True,
        is_initialized=lambda: True,
        device_count=lambda: 1,
        current_device=lambda: 0,
        manual_seed=lambda seed: None,
        manual_seed_all=lambda seed: None,
        get_amp_supported_dtype=lambda: [torch.bfloat16, torch.float16],
        _is_in_bad_fork=lambda: False,
    )
    torch._register_device_module(NAME, module)
    torch.utils.generate_methods_for_privateuse1_backend()
    fewshot_fabric.Fabric = _fabric


class _Accelerator(CPUAccelerator):
    def setup_device(self, device: torch.device) -> None:
        pass


_Fabric = fewshot_fabric.Fabric


def _fabric(accelerator: str, devices: int, precision: str, strategy: str) -> _Fabric:
    if accelerator == "cpu":
        return _Fabric(accelerator=accelerator, devices=devices, precision=precision, strategy=strategy)
    one = SingleDeviceStrategy(device=torch.device(NAME, 0), accelerator=_Accelerator())
    return _Fabric(strategy=one, precision=precision)
