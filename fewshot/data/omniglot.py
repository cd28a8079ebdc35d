"""Omniglot (Lake et al. 2015), in torchvision's folder layout."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from fewshot.data.bank import Bank
from fewshot.data.dataset import Audit, DataSet
from fewshot.data.download import fetch_archives
from fewshot.data.manifest import class_list, manifest
from fewshot.data.photos import photo_files
from fewshot.data.streaming import Report, unreadable_images
from fewshot.errors import FewshotError

_SIZE, _DRAWINGS = 28, 20
_ROTATIONS = (0, 90, 180, 270)
_PARTS = ("images_background", "images_evaluation")
_VINYALS = {
    "train": ["vinyals_train"],
    "val": ["vinyals_val"],
    "test": ["vinyals_test"],
    "trainval": ["vinyals_train", "vinyals_val"],
}
_LISTS = {
    "vinyals": _VINYALS,
    "vinyals_upright": _VINYALS,
    "lake": {"train": ["lake_background"], "test": ["lake_evaluation"]},
}
# Of the names of banks.
_PREFIX = {"vinyals": "", "vinyals_upright": "upright-", "lake": "lake-"}


class Omniglot(DataSet):
    """1623 handwritten characters, 20 drawings each, as 28x28 images with ink = 1.

    Reads `root/omniglot-py/images_background/<alphabet>/<character>/*.png` and `images_evaluation`
    beside it (`root` may also be that folder itself), or downloads them.

    Args:
        root: folder with the files as the public has them.
        prepared: folder in which prepared banks are kept.
        split: `vinyals` (1028 / 172 / 423 characters in train / val / test, each of four rotations a
            class of its own), `vinyals_upright` (the same without rotations) or `lake` (background as train, evaluation as
            test, no rotations). The first two have `trainval` too.
        download: fetch missing archives, checked by their checksums.

    Raises:
        FewshotError: unknown split.

    Source: pipeline and class lists of Snell et al. 2017; see data_manifests/omniglot/README.md.
    """

    name = "omniglot"

    def __init__(self, root="data/raw", prepared="data/prepared", split: str = "vinyals", download: bool = True):
        super().__init__(root, prepared)
        if split not in _LISTS:
            raise FewshotError(f"data.split={split}; expected one of {', '.join(_LISTS)}")
        self.scheme, self.download = split, download
        self.splits = tuple(_LISTS[split])

    def characters(self, split: str) -> list[str]:
        """`alphabet/character` of every character in a split, sorted."""
        return sorted(name for part in _LISTS[self.scheme][split] for name in class_list("omniglot", part))

    def recipe(self, split: str) -> dict:
        names = hashlib.sha256("\n".join(self.characters(split)).encode()).hexdigest()
        return {"pipeline": "omniglot28", "version": 1, "scheme": self.scheme, "split": split, "characters": names}

    def build(self, split: str) -> Bank:
        names = self.characters(split)
        files = self._files(names, split, self._base(names))
        with ThreadPoolExecutor() as pool:
            drawings = np.stack(list(pool.map(_read, [path for name in names for path in files[name]])))
        rotations = _ROTATIONS if self.scheme == "vinyals" else (0,)
        # Nearest neighbour: the middle of each of the 28 cells of 3.75 pixels.
        middle = ((np.arange(_SIZE) + 0.5) * drawings.shape[1] / _SIZE).astype(int)
        turned = [np.rot90(drawings, angle // 90, axes=(1, 2))[:, middle][:, :, middle] for angle in rotations]
        ink = np.stack(turned, axis=1).reshape(len(names), _DRAWINGS, len(rotations), _SIZE, _SIZE)
        items = ink.transpose(0, 2, 1, 3, 4).reshape(-1, 1, _SIZE, _SIZE)
        classes = [f"{name}/rot{angle:03d}" for name in names for angle in rotations]
        return Bank(
            items=torch.from_numpy(255 * items.astype(np.uint8)),
            labels=torch.arange(len(classes)).repeat_interleave(_DRAWINGS),
            class_names=names if self.scheme == "lake" else classes,
            name=self.name,
            split=f"{_PREFIX[self.scheme]}{split}",
            pipeline="omniglot28",
        )

    def source(self) -> str:
        return str(self._present() or "")

    def audit(self, split: str, report: Report | None = None) -> Audit | None:
        base = self._present()
        if base is None:
            return None
        names = self.characters(split)
        missing, extra = _compared(base, names)
        files = {name: sorted(folder.glob("*.png")) for name in names if (folder := _folder(base, name))}
        return Audit(missing, extra, unreadable_images(photo_files(files), report=report))

    def _files(self, names: list[str], split: str, base: Path) -> dict[str, list[Path]]:
        missing, extra = _compared(base, names)
        for what, which in (("lacks", missing), ("has too many images:", extra)):
            if which:
                more = f" and {len(which) - 3} more" if len(which) > 3 else ""
                raise FewshotError(
                    f"omniglot {split} in {base} {what} {', '.join(which[:3])}{more}; unpack the archives again"
                )
        return {name: sorted(_folder(base, name).glob("*.png")) for name in names}

    def _present(self) -> Path | None:
        """The folder that holds images_background or images_evaluation, if there is one."""
        bases = (self.root / "omniglot-py", self.root)
        return next((base for base in bases if any((base / part).is_dir() for part in _PARTS)), None)

    def _base(self, names: list[str]) -> Path:
        """The folder that holds the archives' folders; those that `names` need are downloaded if allowed."""
        base = self._present()
        if base is None and not self.download:
            raise FewshotError(
                f"omniglot is missing: no images_background in {self.root / 'omniglot-py'} or {self.root}; put "
                f"torchvision's omniglot-py folder there or set data.root, or data.download=true"
            )
        base = base or self.root / "omniglot-py"
        if self.download and not all(_folder(base, name) for name in names):
            archives = manifest("omniglot")["archives"].items()
            # One archive may be there already: a download that was cut off goes on with the other.
            absent = {file: facts for file, facts in archives if not (base / Path(file).stem).is_dir()}
            fetch_archives(absent, base, "omniglot")
        return base


def _folder(base: Path, name: str) -> Path | None:
    return next((base / part / name for part in _PARTS if (base / part / name).is_dir()), None)


def _compared(base: Path, names: list[str]) -> tuple[list[str], list[str]]:
    """Which characters or drawings of `names` are missing in `base`, and which are too many."""
    missing, extra = [], []
    for name in names:
        folder = _folder(base, name)
        count = 0 if folder is None else sum(1 for _ in folder.glob("*.png"))
        if count == 0:
            missing.append(name)
        elif count != _DRAWINGS:
            (missing if count < _DRAWINGS else extra).append(f"{name} ({count} images, expected {_DRAWINGS})")
    return missing, extra


def _read(path: Path) -> np.ndarray:
    """The ink of one drawing, bool `[105, 105]`."""
    try:
        with Image.open(path) as image:
            drawing = np.asarray(image.convert("L")) < 128
    except (OSError, SyntaxError, ValueError) as error:
        raise FewshotError(f"{path} cannot be read as an image ({error}); unpack the archives again") from error
    if drawing.shape != (105, 105):
        raise FewshotError(
            f"{path} is {drawing.shape[1]}x{drawing.shape[0]} pixels, expected 105x105; unpack the archives again"
        )
    return drawing
