import platform

import torch

from fewshot.device import cpu_cores, device_name, keep_freed_memory


def test_the_allocator_takes_the_advice_where_it_is_glibc():
    assert keep_freed_memory() == (platform.libc_ver()[0] == "glibc")


def test_a_device_has_a_name_for_the_row():
    assert device_name("cpu") == f"cpu x{torch.get_num_threads()}"
    assert cpu_cores() >= 1
