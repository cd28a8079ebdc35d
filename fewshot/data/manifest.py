"""Reading `data_manifests/`: what is known about a public data set."""

import gzip

from omegaconf import OmegaConf

from fewshot.errors import FewshotError
from fewshot.resources import manifests_folder


def manifest(name: str) -> dict:
    """The facts in `data_manifests/<name>/manifest.yaml`."""
    return OmegaConf.to_container(OmegaConf.load(manifests_folder() / name / "manifest.yaml"))


def in_imagenet(bank: str) -> bool:
    """Whether ImageNet has the classes or photos of the bank of this name, as far as the manifests know."""
    return any(
        bank in manifest(path.parent.name).get("in_imagenet", ()) for path in manifests_folder().glob("*/manifest.yaml")
    )


def class_list(name: str, part: str) -> list[str]:
    """The lines of `data_manifests/<name>/<part>.txt`.

    Raises:
        FewshotError: there is no such list.
    """
    path = manifests_folder() / name / f"{part}.txt"
    if not path.is_file():
        raise FewshotError(f"no list {part!r} for {name}: {path} is missing")
    return path.read_text(encoding="utf-8").split("\n")[:-1]


def file_list(name: str, part: str) -> dict[str, list[str]]:
    """The lines `class/file` of `data_manifests/<name>/<part>.txt.gz` as class to files."""
    found: dict[str, list[str]] = {}
    with gzip.open(manifests_folder() / name / f"{part}.txt.gz", "rt", encoding="utf-8") as file:
        for line in file:
            folder, _, path = line.rstrip("\n").partition("/")
            found.setdefault(folder, []).append(path)
    return found
