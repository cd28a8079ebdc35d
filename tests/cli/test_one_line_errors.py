"""What goes wrong is one line and an exit code."""

import pytest
import torch

from fewshot.cli.one_line_errors import one_line_errors


def test_a_full_gpu_is_one_line(capsys):
    with pytest.raises(SystemExit) as stop, one_line_errors("fewshot"):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    assert stop.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith("fewshot: error: the GPU's memory is full")
    assert err.count("\n") == 1


def test_other_errors_of_a_program_are_seen_whole():
    with pytest.raises(RuntimeError, match="no such thing"), one_line_errors("fewshot"):
        raise RuntimeError("no such thing")
