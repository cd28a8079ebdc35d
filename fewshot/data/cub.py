"""Caltech-UCSD Birds: the 2011 edition (Wah et al.), and the 2010 edition (Welinder et al.)."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from fewshot.data.download import fetch_archives, unpack
from fewshot.data.layouts import class_folders, listed_files
from fewshot.data.manifest import class_list, file_list
from fewshot.data.photo_set import Found, PhotoSet, checked_flag
from fewshot.data.photos import PhotoFiles
from fewshot.errors import FewshotError

_FOLDERS = {2011: ("CUB_200_2011", "."), 2010: ("CUB_200_2010", "CUB_200", ".")}
_ATTRIBUTES = 312


class CUB(PhotoSet):
    """200 species of birds: 11,788 photos in the 2011 edition, 6,033 in that of 2010.

    Reads `root/CUB_200_2011/` as its archive unpacks, or the archive `root/CUB_200_2011.tgz`, which is
    fetched if allowed; or `root/CUB_200_2010/images/<class>/*.jpg`. The two editions are different data
    sets: rows call them `cub` and `cub2010`.

    Args:
        root: folder with the files as the public has them.
        prepared: folder in which prepared banks are kept.
        split: `closerlook` (100 / 50 / 50 classes by their number) or `easyfsl` (140 / 30 / 30).
        pipeline: from files to pixels, by name.
        edition: 2011 or 2010.
        crop_box: cut out the bird's bounding box first (2011 only).
        attributes: read the 312 attributes of each class, in percent of the people who saw them.
        exclude_duplicates: leave out of train what is in val or test too, and out of val what is in test.
        download: fetch the archive of the 2011 edition if it is not there.
        workers: processes that decode; null for one per core.

    Raises:
        FewshotError: an unknown choice.
    """

    name = "cub"

    def __init__(
        self,
        root="data/raw",
        prepared="data/prepared",
        split: str = "closerlook",
        pipeline: str = "chen",
        edition: int = 2011,
        crop_box: bool = False,
        attributes: bool = True,
        exclude_duplicates: bool = False,
        download: bool = False,
        workers: int | None = None,
    ):
        super().__init__(root, prepared, split, pipeline, exclude_duplicates, workers)
        if edition not in _FOLDERS:
            raise FewshotError(f"data.edition={edition}; expected 2011 or 2010")
        if crop_box and edition != 2011:
            raise FewshotError("data.crop_box=true needs the 2011 edition; that of 2010 has its boxes in Matlab files")
        self.edition, self.crop_box = edition, checked_flag("crop_box", crop_box)
        self.has_attributes = checked_flag("attributes", attributes)
        self.download = checked_flag("download", download)

    def bank_name(self) -> str:
        return self.name if self.edition == 2011 else f"{self.name}{self.edition}"

    def name_suffix(self) -> str:
        return " in box" if self.crop_box else ""

    def options(self) -> dict:
        return {"edition": self.edition, "crop_box": self.crop_box, "attributes": self.has_attributes}

    def known_duplicates(self) -> list[tuple[str, str, int]]:
        return super().known_duplicates() if self.edition == 2010 else []

    def find(self, split: str) -> Found | None:
        base = self._base()
        if base is None:
            return None
        classes = self.classes(split)
        if self.edition == 2010:
            counts = dict(line.split() for line in class_list(self.name, "counts_2010"))
            return class_folders(base / "images", classes, {name: int(n) for name, n in counts.items()}, counts)
        found = listed_files(base / "images", classes, file_list(self.name, "files_2011"), nested=True)
        if self.crop_box:
            found = replace(found, photos=self._boxed(base, found.photos))
        return found

    def obtain(self) -> None:
        archive = self.root / "CUB_200_2011.tgz"
        if self.edition != 2011:
            return
        if self.download:
            fetch_archives(self.facts["archives"], self.root, self.name)
        elif archive.is_file():
            unpack(archive, self.root)
        elif _edition_folder(self.root, 2010):
            raise FewshotError(
                f"cub: {self.root} has the 2010 edition, not that of 2011; choose it with data.edition=2010 "
                f"(its numbers do not compare with published ones), or data.download=true for the other"
            )

    def attributes(self, split: str) -> np.ndarray | None:
        if not self.has_attributes:
            return None
        base = self._base()
        path = base / "attributes" / "class_attribute_labels_continuous.txt"
        order = [line.split()[1] for line in _lines(base / "classes.txt", 2)]
        table = np.array([line.split() for line in _lines(path, _ATTRIBUTES)], dtype=np.float32)
        if len(order) != len(table):
            raise FewshotError(f"{path} has {len(table)} lines, classes.txt {len(order)}; unpack the archive again")
        row = {name: i for i, name in enumerate(order)}
        absent = [name for name in self.classes(split) if name not in row]
        if absent:
            raise FewshotError(f"{base / 'classes.txt'} lacks {absent[0]}; unpack the archive again")
        return table[[row[name] for name in self.classes(split)]]

    def _base(self) -> Path | None:
        return _edition_folder(self.root, self.edition)

    def _boxed(self, base: Path, photos: PhotoFiles) -> PhotoFiles:
        """The photos with their boxes: left, top, right, bottom in pixels."""
        names = dict(line.split() for line in _lines(base / "images.txt", 2))
        boxes = {}
        for line in _lines(base / "bounding_boxes.txt", 5):
            number, *edges = line.split()
            left, top, width, height = map(float, edges)
            boxes[names[number]] = (left, top, left + width, top + height)
        return replace(photos, boxes=[boxes["/".join(path.parts[-2:])] for path in photos.paths])


def _edition_folder(root: Path, edition: int) -> Path | None:
    for name in _FOLDERS[edition]:
        base = root / name
        # images.txt came with the 2011 edition; it tells the two apart where the folder is not named.
        if (base / "images").is_dir() and (base / "images.txt").is_file() == (edition == 2011):
            return base
    return None


def _lines(path: Path, columns: int) -> list[str]:
    """The lines of one of the data set's tables."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        advice = "unpack the archive again" + ("; or data.attributes=false" if columns == _ATTRIBUTES else "")
        raise FewshotError(f"{path} cannot be read ({error}); {advice}") from error
    for number, line in enumerate(lines, start=1):
        if len(line.split()) != columns:
            raise FewshotError(f"{path}, line {number} has {len(line.split())} columns instead of {columns}")
    return lines
