import platform

import numpy as np
import torch

from fewshot.device import cpu_cores, device_name, has_room, in_32_bits, keep_freed_memory, sent, wide, widest_float


def test_the_allocator_takes_the_advice_where_it_is_glibc():
    assert keep_freed_memory() == (platform.libc_ver()[0] == "glibc")


def test_a_device_has_a_name_for_the_row():
    assert device_name("cpu") == f"cpu x{torch.get_num_threads()}"
    assert cpu_cores() >= 1


def test_sums_have_the_bits_that_a_device_has():
    assert [widest_float(device) for device in ("cpu", "cuda", "mps")] == [torch.float64, torch.float64, torch.float32]


def test_numbers_are_widened_and_sent():
    assert wide(torch.ones(2)).dtype == torch.float64
    numbers = np.arange(6).reshape(2, 3)
    assert sent(numbers, torch.device("cpu")).tolist() == numbers.tolist()
    assert sent(numbers, torch.device("meta")).device.type == "meta"


def test_half_of_a_gpus_free_memory_is_for_the_work(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (700, 8000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 500)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 200)
    gpu = torch.device("cuda", 0)
    assert [has_room(gpu, size) for size in (500, 501)] == [True, False]
    assert has_room(torch.device("cpu"), 10**15)


def test_convolutions_are_of_32_bits_inside_and_what_they_were_behind():
    switches = torch.backends.cudnn
    before = switches.allow_tf32
    try:
        for given in (True, False):
            switches.allow_tf32 = given
            with in_32_bits():
                assert not switches.allow_tf32
            assert switches.allow_tf32 == given
    finally:
        switches.allow_tf32 = before
