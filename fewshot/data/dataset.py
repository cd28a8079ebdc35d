"""`DataSet`: a named source of banks, prepared once and opened from disk after that."""

import hashlib
import json
import os
import shutil
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path

import torch
from filelock import FileLock

from fewshot.data.bank import Bank
from fewshot.data.store import Check, is_prepared, open_bank, save_bank
from fewshot.data.streaming import Report
from fewshot.errors import FewshotError


@dataclass(frozen=True)
class Audit:
    """How the public files of a split differ from what is known about them; each entry names a file or class."""

    missing: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)


class DataSet(ABC):
    """A data set whose splits can be turned into banks.

    A new data set is one subclass with `name`, `splits`, `recipe` and `build`, and one YAML in
    `conf/data/` that names it. One of many photos is a `PhotoSet`, which has all but the finding of them.

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

    def build(self, split: str) -> Bank:
        """Read the public files and make the bank of `split` in memory.

        Raises:
            FewshotError: files are missing, unreadable or not those of this data set.
        """
        raise NotImplementedError(f"{type(self).__name__} must define build, or write for what is too large for memory")

    def write(self, split: str, folder: Path, report: Report | None = None) -> None:
        """Make the bank of `split` in `folder`; the whole of it appears at once."""
        bank = self.build(split)
        save_bank(bank, folder, self.source())

    def source(self) -> str:
        """Where the public files that `build` reads lie; empty for what is made without any."""
        return ""

    def audit(self, split: str, report: Report | None = None) -> Audit | None:
        """Compare the public files of `split` with what is known about them; None if they are not here."""
        return None

    def known_duplicates(self) -> list[tuple[str, str, int]]:
        """Pairs of classes known to share pictures, and how many."""
        return []

    def folder(self, split: str) -> Path:
        """Where the prepared bank of `split` lies or will lie."""
        if split not in self.splits:
            raise FewshotError(f"{self.name} has no split {split!r}; choose one of {', '.join(self.splits)}")
        recipe = json.dumps(self.recipe(split), sort_keys=True).encode()
        return self.prepared / self.name / hashlib.sha256(recipe).hexdigest()[:12] / split

    def is_prepared(self, split: str) -> bool:
        return is_prepared(self.folder(split))

    def prepare(self, split: str, force: bool = False, report: Report | None = None) -> Path:
        """Make the prepared bank of `split` unless it is there; return its folder.

        Safe to interrupt and to run twice at once: the second process waits for the first.

        Args:
            split: which.
            force: make it again.
            report: called with the number of images that are done and of all, by data sets that count them.
        """
        folder = self.folder(split)
        if is_prepared(folder) and not force:
            return folder
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(folder.parent / f"{split}.lock"):
                for leftover in folder.parent.glob(f".{split}.unfinished-*"):
                    shutil.rmtree(leftover, ignore_errors=True)
                if force:
                    shutil.rmtree(folder.parent / f".{split}.unfinished", ignore_errors=True)
                if force or not is_prepared(folder):
                    self.write(split, folder, report)
        except OSError as error:
            place = Path(error.filename) if isinstance(error.filename, str | bytes | os.PathLike) else folder
            if folder.parent not in (place, *place.parents) and place not in folder.parents:
                raise FewshotError(
                    f"cannot prepare {folder}: {place} cannot be read ({error.strerror or error}); check its permissions"
                ) from error
            raise FewshotError(
                f"cannot prepare {folder}: {error.strerror or error}; choose a folder that can be written to"
            ) from error
        return folder

    def bank(self, split: str, device: torch.device | str = "cpu", check: Check = "changed") -> Bank:
        """The bank of `split` on `device`, prepared first if it was not."""
        return open_bank(self.prepare(split), check=check).to(device)
