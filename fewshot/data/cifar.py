"""CIFAR-FS (Bertinetto et al. 2019) and FC100 (Oreshkin et al. 2018): the images of CIFAR-100."""

from pathlib import Path

import numpy as np

from fewshot.data.download import fetch_archives, unpack
from fewshot.data.layouts import class_folders, first_folder, photo_array
from fewshot.data.photo_set import Found, PhotoSet, checked_flag
from fewshot.data.unpickle import unpickle
from fewshot.errors import FewshotError

_BASES = ("cifar-fs", "cifar_fs", "CIFAR-FS", "cifar100", "fc100", "FC100", ".")
_SIDE = 32


class CIFAR(PhotoSet):
    """The 100 classes of CIFAR-100 with 600 images of 32x32 pixels each, divided for few-shot learning.

    Reads, under `root`, the first of these layouts that is there: class folders `cifar-fs/data/<class>/*.png`
    (also `cifar100/data`, or the class folders themselves), or `cifar-100-python/{train,test,meta}` as
    torchvision has it, or its archive `cifar-100-python.tar.gz`, which is fetched if allowed.

    Args:
        root: folder with the files as the public has them.
        prepared: folder in which prepared banks are kept.
        split: which division of the classes; null for the published one.
        pipeline: from files to pixels, by name; all but `cifar32` enlarge.
        exclude_duplicates: leave out of train what is in val or test too, and out of val what is in test.
        download: fetch the archive if it is not there.
        workers: processes that decode; null for one per core.

    Raises:
        FewshotError: an unknown choice.
    """

    def __init__(
        self,
        root="data/raw",
        prepared="data/prepared",
        split: str | None = None,
        pipeline: str = "cifar32",
        exclude_duplicates: bool = False,
        download: bool = True,
        workers: int | None = None,
    ):
        super().__init__(root, prepared, split, pipeline, exclude_duplicates, workers)
        self.download = checked_flag("download", download)

    def find(self, split: str) -> Found | None:
        classes = self.classes(split)
        for base in _BASES:
            for folder in (self.root / base / "data", self.root / base):
                known = [name for part in self.splits for name in self.classes(part)]
                # More than one: `train` is a class here, and the name of many a folder elsewhere.
                if sum((folder / name).is_dir() for name in known) > 1:
                    return class_folders(folder, classes, self.facts["images_per_class"], known)
        base = first_folder(self.root, ("cifar-100-python", "."), "meta")
        return None if base is None else self._batches(base, classes)

    def obtain(self) -> None:
        if self.download:
            fetch_archives(self.facts["archives"], self.root, self.name)
        elif (archive := self.root / "cifar-100-python.tar.gz").is_file():
            unpack(archive, self.root)

    def _batches(self, base: Path, classes: list[str]) -> Found:
        names = _content(base / "meta", "fine_label_names")["fine_label_names"]
        pixels, labels, files = [], [], []
        for part in ("train", "test"):
            content = _content(base / part, "data", "fine_labels", "filenames")
            data = content["data"]
            if not (isinstance(data, np.ndarray) and data.dtype == np.uint8 and data.shape[1:] == (3 * _SIDE**2,)):
                raise FewshotError(f"{base / part} holds no CIFAR-100 images; unpack the archive again")
            pixels.append(data)
            labels.append(content["fine_labels"])
            files += content["filenames"]
        images = np.concatenate(pixels).reshape(-1, 3, _SIDE, _SIDE).transpose(0, 2, 3, 1)
        label = np.concatenate(labels)
        if not len(images) == len(label) == len(files):
            raise FewshotError(
                f"{base}: {len(images)} images, {len(label)} labels and {len(files)} names; unpack again"
            )
        rows, missing, wrong, count = {}, [], [], self.facts["images_per_class"]
        for name in classes:
            mine = np.flatnonzero(label == names.index(name)) if name in names else np.zeros(0, np.int64)
            if not len(mine):
                missing.append(name)
                continue
            # By file name, as class folders are read: the same images in the same order in both layouts.
            rows[name] = mine[np.argsort(np.array(files)[mine], kind="stable")]
            if len(mine) != count:
                wrong.append(f"{name} has {len(mine)} images instead of {count}")
        return Found(base, photo_array(rows, images, str(base), None), missing, [], wrong)


class CIFARFS(CIFAR):
    """CIFAR-FS: 64 / 16 / 20 classes in train / val / test, drawn at random by Bertinetto et al."""

    name = "cifar_fs"


class FC100(CIFAR):
    """FC100: 60 / 20 / 20 classes in train / val / test, of different superclasses (Oreshkin et al.)."""

    name = "fc100"


def _content(path: Path, *keys: str) -> dict:
    content = unpickle(path)
    if not isinstance(content, dict) or not set(keys) <= content.keys():
        raise FewshotError(f"{path} lacks {', '.join(keys)}; unpack the archive again")
    return content
