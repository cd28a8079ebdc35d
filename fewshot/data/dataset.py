"""`DataSet`: a named source of banks, prepared once and opened from disk after that."""

import hashlib
import json
import shutil
from abc import ABC, abstractmethod
from pathlib import Path

import torch
from filelock import FileLock

from fewshot.data.bank import Bank
from fewshot.data.store import is_prepared, open_bank, save_bank
from fewshot.errors import FewshotError


class DataSet(ABC):
    """A data set whose splits can be turned into banks.

    A new data set is one subclass with `name`, `splits`, `recipe` and `build`, and one YAML in
    `conf/data/` that names it.

    Args:
        root: folder with the files as the public has them; may be missing for generated data.
        prepared: folder in which prepared banks are kept.
    """

    name: str
    splits: tuple[str, ...] = ("train", "val", "test")

    def __init__(self, root: Path | str = "data/raw", prepared: Path | str = "data/prepared"):
        self.root = Path(root)
        self.prepared = Path(prepared)

    @abstractmethod
    def recipe(self, split: str) -> dict:
        """All that decides the content of a split, as plain JSON; a change makes a new prepared folder."""

    @abstractmethod
    def build(self, split: str) -> Bank:
        """Read the public files and make the bank of `split` in memory.

        Raises:
            FewshotError: files are missing, unreadable or not those of this data set.
        """

    def check_files(self, split: str) -> bool | None:
        """Compare the public files of `split` with what is known about them.

        Returns:
            True if they agree, False if there are none here, None if nothing is known about them.

        Raises:
            FewshotError: files are missing.
        """
        return None

    def folder(self, split: str) -> Path:
        """Where the prepared bank of `split` lies or will lie."""
        if split not in self.splits:
            raise FewshotError(f"{self.name} has no split {split!r}; choose one of {', '.join(self.splits)}")
        recipe = json.dumps(self.recipe(split), sort_keys=True).encode()
        return self.prepared / self.name / hashlib.sha256(recipe).hexdigest()[:12] / split

    def is_prepared(self, split: str) -> bool:
        return is_prepared(self.folder(split))

    def prepare(self, split: str, force: bool = False) -> Path:
        """Make the prepared bank of `split` unless it is there; return its folder.

        Safe to interrupt and to run twice at once: the second process waits for the first.
        """
        folder = self.folder(split)
        if is_prepared(folder) and not force:
            return folder
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(folder.parent / f"{split}.lock"):
                for leftover in folder.parent.glob(f".{split}.unfinished-*"):
                    shutil.rmtree(leftover, ignore_errors=True)
                if force or not is_prepared(folder):
                    save_bank(self.build(split), folder)
        except OSError as error:
            raise FewshotError(
                f"cannot prepare {folder}: {error.strerror or error}; choose a folder that can be written to"
            ) from error
        return folder

    def bank(self, split: str, device: torch.device | str = "cpu", check: bool = True) -> Bank:
        """The bank of `split` on `device`, prepared first if it was not."""
        return open_bank(self.prepare(split), check=check).to(device)
