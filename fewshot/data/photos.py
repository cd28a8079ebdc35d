"""`Photos`: the public images of one split, found but not yet read, and how they are read in pieces."""

import hashlib
import os
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from fewshot.data.pipeline import Box, Pipeline

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"}


class Part(ABC):
    """A piece of `Photos` that can be sent to another process."""

    @abstractmethod
    def images(self) -> Iterator[tuple[str, Callable[[], Image.Image], Box | None]]:
        """For each image its name, what opens it, and the box to cut out."""

    @abstractmethod
    def stamp(self) -> str:
        """Changes when the content of these images does."""


@dataclass(frozen=True)
class FilePart(Part):
    paths: Sequence[Path]
    boxes: Sequence[Box | None]

    def stamp(self):
        facts = [path.stat() if path.exists() else None for path in self.paths]
        return _digest(repr([fact and (fact.st_size, fact.st_mtime_ns) for fact in facts]).encode())

    def images(self):
        for path, box in zip(self.paths, self.boxes, strict=True):
            yield str(path), partial(Image.open, path), box


@dataclass(frozen=True)
class ArrayPart(Part):
    names: Sequence[str]
    pixels: np.ndarray

    def stamp(self):
        # The key of the whole array says what is in it.
        return "array"

    def images(self):
        for name, pixels in zip(self.names, self.pixels, strict=True):
            yield name, partial(Image.fromarray, pixels), None


# What Pillow raises on files that are not, or not wholly, images.
UNREADABLE = (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError)


@dataclass(frozen=True)
class Photos(ABC):
    """The images of one split, class by class.

    Args:
        class_names: as the bank will have them.
        counts: images of each class.
        origin: `84px` for copies of 84x84 pixels, `originals`, or None where there is but one kind.
    """

    class_names: list[str]
    counts: list[int]
    origin: str | None = field(default=None, kw_only=True)

    def __len__(self) -> int:
        return sum(self.counts)

    @abstractmethod
    def part(self, start: int, stop: int) -> Part:
        """Images `start` to `stop`, counted over all classes."""

    @abstractmethod
    def key(self) -> str:
        """Changes when other images take part; `Part.stamp` tells whether they are still the same."""


@dataclass(frozen=True)
class PhotoFiles(Photos):
    """Images in files, `paths` in the order of the classes."""

    paths: list[Path]
    boxes: list[Box] | None = None

    def part(self, start, stop):
        boxes = [None] * (stop - start) if self.boxes is None else self.boxes[start:stop]
        return FilePart(self.paths[start:stop], boxes)

    def key(self):
        return _digest(b"\0".join(os.fsencode(path) for path in self.paths), repr(self.boxes).encode())


@dataclass(frozen=True)
class PhotoArray(Photos):
    """Images in an array uint8 `[n, h, w, 3]` of the file `source`; `rows` picks them, in the order of the classes."""

    pixels: np.ndarray
    rows: np.ndarray
    source: str

    def part(self, start, stop):
        rows = self.rows[start:stop]
        return ArrayPart([f"{self.source}, image {row}" for row in rows], self.pixels[rows])

    def key(self):
        return _digest(self.rows.tobytes(), self.pixels)


def photo_files(classes: dict[str, Sequence[Path]], **more) -> PhotoFiles:
    """`PhotoFiles` of class names and their paths."""
    paths = [path for part in classes.values() for path in part]
    return PhotoFiles(list(classes), [len(part) for part in classes.values()], paths, **more)


def write_part(part: Part, pipeline: Pipeline, path: Path, offset: int) -> list[str]:
    """Put the pixels of `part` into the file `path` from byte `offset` on; return what could not be read.

    Nothing is written if any image cannot be read. Runs in a worker process, which needs no torch.
    """
    pixels, problems = [], []
    for name, open_image, box in part.images():
        try:
            with open_image() as image:
                pixels.append(pipeline.pixels(image, box))
        except UNREADABLE as error:
            problems.append(f"{name} ({error})")
    if not problems:
        with open(path, "r+b") as file:
            file.seek(offset)
            file.write(np.stack(pixels).tobytes())
            file.flush()
            os.fsync(file.fileno())
    return problems


def unreadable(part: Part) -> list[str]:
    """Those images of `part` that cannot be decoded, with the reason."""
    problems = []
    for name, open_image, _ in part.images():
        try:
            with open_image() as image:
                image.load()
        except UNREADABLE as error:
            problems.append(f"{name} ({error})")
    return problems


def with_span(span: tuple[int, int], function: Callable, *arguments):
    """`span` and what `function` returns; stands here because workers import this file and no torch."""
    return span, function(*arguments)


def _digest(*parts: bytes | np.ndarray) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(np.ascontiguousarray(part) if isinstance(part, np.ndarray) else part).digest())
    return digest.hexdigest()
