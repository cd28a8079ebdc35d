"""The command `fewshot` on a small folder of images."""

import sys

import numpy as np
import pytest
import torch
from PIL import Image

from fewshot.cli.main import main

SMALL = [
    "data=folder", "data.root=images", "data.prepared=prepared", "data.size=28", "data.channels=1", "experiment=debug",
    "backbone.width=8", "episodes.train.query=3", "episodes.test.query=3", "trainer.accelerator=cpu", "trainer.threads=1",
]  # fmt: skip
# What a test takes from its checkpoint and refuses on the command line.
TRAIN_ONLY = ("episodes.train.query=3",)


def exit_code(monkeypatch, *arguments: str) -> int:
    """Of the command with these arguments."""
    monkeypatch.setattr(sys, "argv", ["fewshot", *arguments])
    try:
        main()
    except SystemExit as stop:
        return stop.code or 0
    return 0


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for c in range(7):
            pattern = rng.integers(0, 256, (28, 28))
            (root / split / f"{split}{c}").mkdir(parents=True)
            for i in range(8):
                noisy = 0.4 * pattern + 0.6 * rng.integers(0, 256, (28, 28))
                Image.fromarray(noisy.astype(np.uint8)).save(root / split / f"{split}{c}" / f"{i}.png")
    return root


@pytest.fixture
def fewshot(images, tmp_path, monkeypatch):
    """Runs the command in an empty folder beside the images; returns the exit code."""
    (tmp_path / "images").symlink_to(images)
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()

    def run(*arguments: str, flags: tuple[str, ...] = (), without: tuple[str, ...] = ()) -> int:
        return exit_code(monkeypatch, *flags, *(a for a in SMALL if a not in without), *arguments)

    yield run
    torch.set_num_threads(threads)


def only_run(tmp_path):
    (folder,) = (p for p in (tmp_path / "runs").iterdir() if p.name != "sweeps")
    return folder
