import platform

import torch

from fewshot.device import cpu_cores, device_name, keep_freed_memory, widest_float


def test_the_allocator_takes_the_advice_where_it_is_glibc():
    assert keep_freed_memory() == (platform.libc_ver()[0] == "glibc")


def test_a_device_has_a_name_for_the_row():
    assert device_name("cpu") == f"cpu x{torch.get_num_threads()}"
    assert cpu_cores() >= 1


def test_sums_have_the_bits_that_a_device_has():
    assert [widest_float(device) for device in ("cpu", "cuda", "mps")] == [torch.float64, torch.float64, torch.float32]
