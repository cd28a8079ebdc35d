"""`PhotoSet`: a data set of many photos, listed in `data_manifests/` and streamed to disk."""

import copy
import hashlib
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, TypeVar

import numpy as np

from fewshot.data.dataset import Audit, DataSet
from fewshot.data.manifest import class_list, manifest
from fewshot.data.photos import Photos
from fewshot.data.pipeline import Pipeline, pipeline_named
from fewshot.data.streaming import Report, item_digests, unreadable_images, write_bank
from fewshot.device import cpu_cores
from fewshot.errors import FewshotError

T = TypeVar("T")


@dataclass(frozen=True)
class Found:
    """Public files of one split.

    Args:
        where: they are, for messages.
        photos: those that are there, of the classes that are there.
        missing: classes or files that should be there; a bank needs all of them.
        extra: files beside them that should not be there; a bank leaves them out.
        wrong: what makes these other files than the data set's, such as too many images in a class.
    """

    where: Path
    photos: Photos
    missing: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


class PhotoSet(DataSet):
    """Photos of classes that a manifest lists, made into banks by a named pipeline.

    A subclass has a `name`, which is also the folder of its manifest, and `find`.

    Args:
        root: folder with the files as the public has them.
        prepared: folder in which prepared banks are kept.
        split: which division of the classes, one of those in the manifest; None for its first.
        pipeline: from files to pixels, by name.
        exclude_duplicates: leave out of train what is in val or test too, and out of val what is in test.
        workers: processes that decode; null for one per core.

    Raises:
        FewshotError: unknown split or pipeline.
    """

    def __init__(self, root, prepared, split: str | None, pipeline: str, exclude_duplicates: bool, workers: int | None):
        super().__init__(root, prepared)
        self.facts = manifest(self.name)
        split = split or next(iter(self.facts["classes"]))
        if split not in self.facts["classes"]:
            raise FewshotError(f"data.split={split}; expected one of {', '.join(self.facts['classes'])}")
        self.scheme = split
        self.exclude_duplicates = checked_flag("exclude_duplicates", exclude_duplicates)
        self.pipeline = pipeline_named(pipeline)
        self.workers = checked_workers(workers)
        self.splits = tuple(part for part in ("train", "val", "test") if part in self.facts["classes"][split])

    def with_pipeline(self, name: str, option: str = "data.pipeline") -> Self:
        """The same photos made into banks by another pipeline.

        Args:
            name: of that pipeline.
            option: that has it, for messages.
        """
        other = copy.copy(self)
        other.pipeline = pipeline_named(name, option)
        return other

    @abstractmethod
    def find(self, split: str) -> Found | None:
        """The public files of `split`; None if this data set is not under `root` at all.

        Raises:
            FewshotError: something is there that cannot be read.
        """

    def attributes(self, split: str) -> np.ndarray | None:
        """A description of each class, float32 `[classes, a]`, for data sets that have one."""
        return None

    def options(self) -> dict:
        """What of a subclass's own options decides the content of a bank."""
        return {}

    def obtain(self) -> None:
        """Unpack or download what is not there; does nothing for sets that must be fetched by hand."""

    def classes(self, split: str) -> list[str]:
        """The classes of `split` as the manifest has them."""
        return class_list(self.facts.get("class_lists", self.name), f"{self.scheme}_{split}")

    def recipe(self, split: str) -> dict:
        return {
            "version": 1,
            "pipeline": repr(self.pipeline),
            "scheme": self.scheme,
            "classes": hashlib.sha256("\n".join(self.classes(split)).encode()).hexdigest(),
            "exclude_duplicates": bool(self._later(split)),
        } | self.options()

    def write(self, split: str, folder: Path, report: Report | None = None) -> None:
        found = self._found(split)
        excluded = set()
        for other in self._later(split):
            excluded.update(item_digests(self.prepare(other, report=report) / "items.npy"))
        suffix = self.name_suffix() + (" without duplicates" if self._later(split) else "")
        description = {
            "name": self.bank_name(),
            "split": split if self.scheme == next(iter(self.facts["classes"])) else f"{self.scheme}-{split}",
            "pipeline": pipeline_name(self.pipeline, found.photos.origin, suffix),
            "mean": list(self.pipeline.mean),
            "std": list(self.pipeline.std),
            "source": str(found.where),
        }
        write_bank(
            folder,
            found.photos,
            self.pipeline,
            description,
            attributes=self._checked(lambda: self.attributes(split)),
            excluded=excluded,
            workers=self.workers,
            report=report,
        )

    def bank_name(self) -> str:
        """The name in rows."""
        return self.name

    def name_suffix(self) -> str:
        """What the name of the pipeline ends in, for options of a subclass that change pixels."""
        return ""

    def audit(self, split: str, report: Report | None = None) -> Audit | None:
        found = self._checked(lambda: self.find(split))
        if found is None:
            return None
        return Audit(found.missing, found.extra + found.wrong, unreadable_images(found.photos, self.workers, report))

    def known_duplicates(self) -> list[tuple[str, str, int]]:
        return self.facts.get("known_duplicates", [])

    def _later(self, split: str) -> tuple[str, ...]:
        """The splits whose images are left out of `split`."""
        return self.splits[self.splits.index(split) + 1 :] if self.exclude_duplicates else ()

    def _checked(self, read: Callable[[], T]) -> T:
        """What `read` finds in files of other people's; tables and pickles may hold anything."""
        try:
            return read()
        except (KeyError, ValueError, TypeError, IndexError, AttributeError) as error:
            raise FewshotError(
                f"{self.name}: a table or pickle in {self.root} is damaged ({type(error).__name__}: {error}); get it again"
            ) from error

    def _found(self, split: str) -> Found:
        found = self._checked(lambda: self.find(split))
        if found is None:
            self.obtain()
            found = self._checked(lambda: self.find(split))
        if found is None:
            how = " ".join(self.facts["get"].split()).replace("data/raw", str(self.root))
            raise FewshotError(f"{self.name} is not in {self.root}: {how}")
        for what, which in (("lacks", found.missing), ("is not this data set:", found.wrong)):
            if which:
                more = f" and {len(which) - 3} more" if len(which) > 3 else ""
                raise FewshotError(
                    f"{self.name}/{split} in {found.where} {what} {', '.join(which[:3])}{more}; unpack it again, or "
                    f"read what you have as data=folder"
                )
        return found


def pipeline_name(pipeline: Pipeline, origin: str | None, suffix: str = "") -> str:
    """What rows call it: with the kind of images behind it where its authors used another kind."""
    other = f" from {origin}" if origin and pipeline.made_for and origin != pipeline.made_for else ""
    return f"{pipeline.name}{other}{suffix}"


def checked_workers(workers: int | None) -> int:
    """The number of processes that `workers` asks for; one per core for None."""
    if workers is None:
        return cpu_cores()
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
        raise FewshotError(f"data.workers={workers!r}; expected a whole number of at least 1, or null for one per core")
    return workers


def checked_flag(name: str, value: object) -> bool:
    """`value`, which must be true or false."""
    if not isinstance(value, bool):
        raise FewshotError(f"data.{name}={value}; expected true or false")
    return value
