"""Small data sets in exactly the layouts of the public ones, with manifests to match."""

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from fewshot.resources import manifests_folder

MINI = {"train": ["n03888605 parallel bars", "n01532829 house finch"], "val": ["n03535780 horizontal bar"], "test": ["n01930112 nematode"]}  # fmt: skip
BIRDS = {"train": ["001.Albatross", "003.Ani"], "val": ["002.Auklet"], "test": ["004.Blackbird"]}
THINGS = {"train": ["apple", "otter"], "val": ["seal"], "test": ["man"]}
PER_CLASS = 4


@pytest.fixture
def manifests(tmp_path, monkeypatch):
    """The real manifests with a handful of classes and images in place of all of them."""
    folder = tmp_path / "data_manifests"
    shutil.copytree(manifests_folder(), folder)
    monkeypatch.setattr("fewshot.data.manifest.manifests_folder", lambda: folder)

    def lists(name, scheme, splits, **facts):
        for split, classes in splits.items():
            (folder / name / f"{scheme}_{split}.txt").write_text("".join(f"{line}\n" for line in classes))
        path = folder / name / "manifest.yaml"
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | facts))

    keys = [line.split()[0] for classes in MINI.values() for line in classes]
    lists("mini_imagenet", "ravi", MINI, images_per_class=PER_CLASS)
    lists("tiered_imagenet", "ren", MINI, images={"train": 9, "val": 5, "test": 3})
    lists("cifar_fs", "bertinetto", THINGS, images_per_class=PER_CLASS)
    lists("fc100", "tadam", THINGS, images_per_class=PER_CLASS)
    lists("cub", "closerlook", BIRDS)
    birds = [name for names in BIRDS.values() for name in names]
    (folder / "cub" / "counts_2010.txt").write_text("".join(f"{name} {PER_CLASS}\n" for name in birds))
    packed(folder / "mini_imagenet/files_ravi", [f"{k}/{k}{i:08d}.jpg" for k in keys for i in range(PER_CLASS)])
    # ImageNet has more images of a class than the data set takes.
    packed(folder / "mini_imagenet/files_ilsvrc", [f"{k}/{k}_{7 * i}.JPEG" for k in keys for i in range(PER_CLASS)])
    packed(folder / "cub/files_2011", [f"{b}/{b[4:]}_{i:04d}_{b[:3]}.jpg" for b in birds for i in range(PER_CLASS)])
    return folder


def packed(path: Path, lines: list[str]) -> None:
    with gzip.open(path.with_name(f"{path.name}.txt.gz"), "wt") as file:
        file.writelines(f"{line}\n" for line in lines)


def noise(seed: int, height: int, width: int) -> np.ndarray:
    """A smooth random photo, uint8 `[height, width, 3]`."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))


def picture(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **({"quality": 95} if path.suffix.lower().startswith(".jp") else {}))
    return path
