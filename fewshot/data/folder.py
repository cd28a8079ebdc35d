"""`folder`: any tree of class folders, or CSVs of file names and labels."""

import csv
import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from fewshot.data.dataset import Audit, DataSet
from fewshot.data.layouts import image_files
from fewshot.data.photo_set import checked_workers
from fewshot.data.photos import SUFFIXES, photo_files
from fewshot.data.pipeline import Pipeline
from fewshot.data.streaming import Report, unreadable_images, write_bank
from fewshot.errors import FewshotError

_SPLITS = ("train", "val", "test")


class ImageFolder(DataSet):
    """A data set of one's own.

    Each split is a folder of class folders (`root/train/<class>/<image>`) or a CSV with the columns
    `filename,label` (`root/train.csv`, images in `root/images/` or `root/`). Splits that are not there are
    left out; test must be. Images of any size are resized with an antialiasing filter.

    Args:
        root: folder with the splits.
        prepared: folder in which prepared banks are kept.
        name: of the data set in rows.
        size: side of the square images that are made, in pixels.
        channels: 3 for RGB, 1 for grey.
        resize: `crop` scales the shorter side and cuts the middle out, `squash` ignores proportions.
        mean, std: per channel, of pixels in 0..1, for normalisation; null leaves 0..1.
        workers: processes that decode; null for one per core.

    Raises:
        FewshotError: an impossible argument.
    """

    def __init__(
        self,
        root="data/raw/folder",
        prepared="data/prepared",
        name: str = "folder",
        size: int = 84,
        channels: int = 3,
        resize: str = "crop",
        mean: list[float] | None = None,
        std: list[float] | None = None,
        workers: int | None = None,
    ):
        super().__init__(root, prepared)
        if channels not in (1, 3):
            raise FewshotError(f"data.channels={channels}; expected 1 or 3")
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise FewshotError(f"data.size={size!r}; expected a whole number of at least 1")
        if resize not in ("crop", "squash"):
            raise FewshotError(f"data.resize={resize}; expected crop or squash")
        if not name or "/" in name or name.startswith("."):
            raise FewshotError(f"data.name={name!r}; expected a name that can be a folder's")
        self.name, self.size, self.channels, self.resize = name, size, channels, resize
        self.mean, self.std = _statistics("mean", mean, channels), _statistics("std", std, channels)
        self.workers = checked_workers(workers)
        self.splits = tuple(s for s in _SPLITS if (self.root / s).is_dir() or (self.root / f"{s}.csv").is_file())

    def folder(self, split: str) -> Path:
        if not self.splits:
            raise FewshotError(
                f"{self.root} has neither train/ val/ test/ folders nor CSVs of these names; divide its class folders into these, or set data.root to a folder that has them"
            )
        return super().folder(split)

    def recipe(self, split: str) -> dict:
        listing = hashlib.sha256()
        for label, paths in sorted(self._classes(split).items()):
            for path in paths:
                try:
                    facts = path.stat()
                except OSError as error:
                    raise FewshotError(f"{path} cannot be read ({error.strerror}); repair it or take it out") from error
                line = f"{label}\0{path}\0{facts.st_size}\0{facts.st_mtime_ns}\n"
                listing.update(line.encode(errors="surrogateescape"))
        return {
            "version": 2,
            "files": listing.hexdigest(),
            "size": self.size,
            "channels": self.channels,
            "resize": self.resize,
            "mean": self.mean,
            "std": self.std,
        }

    def write(self, split: str, folder: Path, report: Report | None = None) -> None:
        photos = photo_files(dict(sorted(self._classes(split).items())))
        description = {
            "name": self.name,
            "split": split,
            "pipeline": self._pipeline_name(),
            "mean": list(self.mean),
            "std": list(self.std),
        }
        pipeline = Pipeline(
            f"{self.resize}{self.size}",
            self.size,
            self.size,
            "middle" if self.resize == "crop" else "squash",
            channels=self.channels,
            upright=True,
            on_white=True,
        )
        write_bank(folder, photos, pipeline, description, workers=self.workers, report=report)

    def audit(self, split: str, report: Report | None = None) -> Audit:
        return Audit(unreadable=unreadable_images(photo_files(self._classes(split)), self.workers, report))

    def _pipeline_name(self) -> str:
        """How pixels are made, with the normalisation where there is one: other numbers, another pipeline."""
        name = f"{self.resize}{self.size}"
        if not (self.mean or self.std):
            return name
        parts = [",".join(f"{value:g}" for value in values) or "none" for values in (self.mean, self.std)]
        return f"{name} mean {parts[0]} std {parts[1]}"

    def _classes(self, split: str) -> dict[str, list[Path]]:
        table, folder = self.root / f"{split}.csv", self.root / split
        if folder.is_dir():
            found = {
                part.name: image_files(part)
                for part in folder.iterdir()
                if part.is_dir() and not part.name.startswith(".")
            }
        else:
            found = self._from_csv(table)
        garbled = [label for label in found if label.encode(errors="ignore").decode() != label]
        if garbled:
            raise FewshotError(f"{folder}: the class name {garbled[0]!r} is not UTF-8; rename the folder")
        empty = sorted(label for label, paths in found.items() if not paths)
        if empty or not found:
            what = f"no images in class {empty[0]!r} ({len(empty)} such classes)" if empty else "no classes"
            where = folder if folder.is_dir() else table
            raise FewshotError(
                f"{where}: {what}; expected {where.stem}/<class>/<image> with {', '.join(sorted(SUFFIXES))}"
            )
        return found

    def _from_csv(self, table: Path) -> dict[str, list[Path]]:
        found: dict[str, list[Path]] = {}
        try:
            # "-sig": spreadsheets put a byte order mark in front of the first column's name.
            with open(table, encoding="utf-8-sig", newline="") as file:
                rows = csv.DictReader(file)
                if not {"filename", "label"}.issubset(rows.fieldnames or ()):
                    raise FewshotError(f"{table} has the columns {rows.fieldnames}; expected filename,label")
                for row in rows:
                    if not row["filename"] or not row["label"]:
                        raise FewshotError(f"{table}, line {rows.line_num}: filename or label is empty")
                    found.setdefault(row["label"], []).append(self._listed(row["filename"], table, rows.line_num))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise FewshotError(f"{table} cannot be read as a CSV in UTF-8 ({error})") from error
        listed = [path.resolve() for paths in found.values() for path in paths]
        twice = next((path for path, count in Counter(listed).items() if count > 1), None)
        if twice:
            raise FewshotError(f"{table} lists {twice} more than once; an image must not be support and query at once")
        return {label: sorted(paths) for label, paths in found.items()}

    def _listed(self, filename: str, table: Path, line: int) -> Path:
        for path in (self.root / "images" / filename, self.root / filename):
            if path.is_file():
                return path
        raise FewshotError(f"{table}, line {line}: {filename!r} is neither in {self.root}/images nor in {self.root}")


def _statistics(what: str, values: Sequence[float] | None, channels: int) -> tuple[float, ...]:
    try:
        numbers = tuple(float(value) for value in values or ())
    except (TypeError, ValueError):
        numbers = None
    if numbers is None or len(numbers) not in (0, channels):
        raise FewshotError(f"data.{what}={values}; expected one number for each of {channels} channels, or null")
    if not all(0 <= number <= 1 for number in numbers) or (what == "std" and 0 in numbers):
        least = "more than 0, at most 1" if what == "std" else "0 to 1"
        raise FewshotError(
            f"data.{what}={values}; expected {least}, of pixels in 0..1: divide by 255 what is of pixels in 0..255"
        )
    return numbers
