import multiprocessing

import pytest
import torch

from fewshot.data.bank import Bank
from fewshot.data.dataset import DataSet
from fewshot.errors import FewshotError


class Counting(DataSet):
    name = "counting"

    def recipe(self, split):
        return {"split": split}

    def build(self, split):
        with open(self.root / "built", "a") as file:
            file.write("x")
        return Bank(torch.zeros(4, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 0, 1, 1]), ["a", "b"])


def prepare(root):
    Counting(root, root / "p").prepare("train")


def test_several_processes_prepare_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=prepare, args=(tmp_path,)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert (tmp_path / "built").read_text() == "x"


def test_what_an_interrupted_preparation_left_is_cleared(tmp_path):
    dataset = Counting(tmp_path, tmp_path / "p")
    leftover = dataset.folder("train").parent / ".train.unfinished-abc"
    leftover.mkdir(parents=True)
    dataset.prepare("train")
    assert not leftover.exists()
    dataset.prepare("train", force=True)
    assert (tmp_path / "built").read_text() == "xx"


def test_an_unknown_split_and_an_unwritable_place_are_refused(tmp_path):
    with pytest.raises(FewshotError, match="no split 'novel'"):
        Counting(tmp_path).bank("novel")
    (tmp_path / "file").write_text("")
    with pytest.raises(FewshotError, match="cannot prepare"):
        Counting(tmp_path, tmp_path / "file").bank("train")
