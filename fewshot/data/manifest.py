"""Reading `data_manifests/`: what is known about a public data set."""

from omegaconf import OmegaConf

from fewshot.errors import FewshotError
from fewshot.resources import manifests_folder


def manifest(name: str) -> dict:
    """The facts in `data_manifests/<name>/manifest.yaml`."""
    return OmegaConf.to_container(OmegaConf.load(manifests_folder() / name / "manifest.yaml"))


def class_list(name: str, part: str) -> list[str]:
    """The lines of `data_manifests/<name>/<part>.txt`.

    Raises:
        FewshotError: there is no such list.
    """
    path = manifests_folder() / name / f"{part}.txt"
    if not path.is_file():
        raise FewshotError(f"no list {part!r} for {name}: {path} is missing")
    return path.read_text(encoding="utf-8").split("\n")[:-1]
