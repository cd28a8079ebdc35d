"""The layouts in which people have photo data sets, compared with what should be in them."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from fewshot.data.photo_set import Found
from fewshot.data.photos import SUFFIXES, UNREADABLE, PhotoArray, PhotoFiles, photo_files
from fewshot.data.unpickle import unpickle
from fewshot.errors import FewshotError

# `ImageNet` as unpacked by hand, by torchvision, and in the folders of the ILSVRC archives.
IMAGENET_FOLDERS = ("imagenet/train", "ILSVRC2012/train", "ILSVRC/Data/CLS-LOC/train", "imagenet", "train", ".")


def folder_name(class_name: str) -> str:
    """The part of a manifest's class name that folders have: `n01532829` of `n01532829 house finch`."""
    return class_name.partition(" ")[0]


def first_folder(root: Path, candidates: Iterable[str], inside: str = "") -> Path | None:
    """The first of `root/candidate` in which `inside` exists."""
    return next((root / name for name in candidates if (root / name / inside).exists()), None)


def class_folders(
    base: Path, classes: Sequence[str], counts: Mapping[str, int] | int | None, known: Iterable[str] | None = None
) -> Found:
    """Images in `base/<class>/`, all of them.

    Args:
        base: folder of class folders.
        classes: to be found there, as the manifest names them.
        counts: images of each class, one number for all, or None if that is not known.
        known: folders that may be beside those; None for any.
    """
    found, missing, wrong = {}, [], []
    for name in classes:
        paths = image_files(base / folder_name(name))
        expected = counts.get(folder_name(name)) if isinstance(counts, Mapping) else counts
        if not paths:
            missing.append(folder_name(name))
            continue
        found[name] = paths
        if expected is not None and len(paths) < expected:
            missing.append(f"{expected - len(paths)} of {expected} images of {folder_name(name)}")
        elif expected is not None and len(paths) > expected:
            wrong.append(f"{folder_name(name)} has {len(paths)} images instead of {expected}")
    others = [] if known is None else sorted(_folders(base) - set(known))
    # Lists of splits may lie beside the images.
    extra = [name for name in others if any(map(_is_image, _names(base / name)))]
    return Found(base, photo_files(found), missing, extra, wrong)


def listed_files(base: Path, classes: Sequence[str], files: Mapping[str, Sequence[str]], nested: bool) -> Found:
    """The images that a list names.

    Args:
        base: their folder, or the folder of their class folders.
        classes: as the manifest names them.
        files: file names of each class.
        nested: whether `base` has class folders; extra files are looked for in those, and in `base` otherwise.
    """
    found, missing, extra = {}, [], []
    flat = _names(base) if not nested else set()
    for name in classes:
        key = folder_name(name)
        folder = base / key if nested else base
        there = _names(folder) if nested else flat
        lost = [file for file in files[key] if file not in there]
        if len(lost) == len(files[key]):
            missing.append(f"{key} ({len(lost)} images)")
            continue
        missing += [f"{key}/{file}" if nested else file for file in lost]
        found[name] = [folder / file for file in files[key] if file in there]
        if nested:
            extra += [f"{key}/{file}" for file in sorted(there - set(files[key])) if _is_image(file)]
    if not nested:
        extra = sorted(filter(_is_image, flat - {file for names in files.values() for file in names}))
    return Found(base, photo_files(found), missing, extra)


def mini_imagenet_cache(path: Path, classes: Sequence[str], count: int, size: int) -> Found:
    """The pickle `{image_data: uint8 [n, size, size, 3], class_dict: {class: rows}}`.

    Raises:
        FewshotError: the file holds something else.
    """
    content = unpickle(path)
    expected = f"image_data uint8 [n, {size}, {size}, 3] and class_dict"
    if not isinstance(content, dict) or not content.keys() >= {"image_data", "class_dict"}:
        raise FewshotError(f"{path} holds no mini-ImageNet cache; expected {expected}")
    pixels, rows = content["image_data"], content["class_dict"]
    if not _is_rgb(pixels, size) or not isinstance(rows, dict):
        raise FewshotError(f"{path}: image_data is {_what(pixels)}; expected {expected}")
    found, missing, wrong = {}, [], []
    for name in classes:
        mine = np.asarray(rows.get(folder_name(name), ()), dtype=np.int64).ravel()
        if mine.size and not (mine.min() >= 0 and mine.max() < len(pixels) and len(np.unique(mine)) == len(mine)):
            raise FewshotError(f"{path}: class_dict gives {folder_name(name)} rows that are not there, or one twice")
        if not mine.size:
            missing.append(folder_name(name))
            continue
        found[name] = mine
        if len(mine) < count:
            missing.append(f"{count - len(mine)} of {count} images of {folder_name(name)}")
        elif len(mine) > count:
            wrong.append(f"{folder_name(name)} has {len(mine)} images instead of {count}")
    extra = sorted(set(map(str, rows)) - {folder_name(name) for name in classes})
    return Found(path, photo_array(found, pixels, str(path), "84px"), missing, extra, wrong)


def photo_array(rows: Mapping[str, np.ndarray], pixels: np.ndarray, source: str, origin: str | None) -> PhotoArray:
    """`PhotoArray` of class names and their rows of `pixels`."""
    order = np.concatenate([*rows.values(), np.zeros(0, np.int64)])
    return PhotoArray(list(rows), [len(part) for part in rows.values()], pixels, order, source, origin=origin)


def image_files(folder: Path) -> list[Path]:
    """The images in `folder` and below it, sorted; none if there is no such folder."""
    found = []
    for place, folders, names in os.walk(folder):
        folders.sort()
        found += [Path(place, name) for name in names if _is_image(name)]
    return sorted(found)


def origin_of(photos: PhotoFiles) -> str | None:
    """`84px` if the first readable image is a copy of 84x84 pixels, `originals` otherwise."""
    for path in photos.paths:
        try:
            with Image.open(path) as image:
                return "84px" if image.size == (84, 84) else "originals"
        except UNREADABLE:
            continue
    return None


def _names(folder: Path) -> set[str]:
    return {entry.name for entry in os.scandir(folder)} if folder.is_dir() else set()


def _folders(folder: Path) -> set[str]:
    return {entry.name for entry in os.scandir(folder) if entry.is_dir()}


def _is_image(name: str) -> bool:
    # Names with a dot in front are what operating systems leave behind.
    return os.path.splitext(name)[1].lower() in SUFFIXES and not name.startswith(".")


def _is_rgb(pixels: object, size: int) -> bool:
    return (
        isinstance(pixels, np.ndarray)
        and pixels.dtype == np.uint8
        and pixels.ndim == 4
        and pixels.shape[1:] == (size, size, 3)
    )


def _what(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {list(value.shape)}"
    return type(value).__name__
