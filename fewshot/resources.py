"""Where the files that travel with the package lie: `conf/` and `data_manifests/`."""

from pathlib import Path

from fewshot.errors import FewshotError

_PACKAGE = Path(__file__).resolve().parent


def _folder(name: str) -> Path:
    # A wheel carries the folder inside the package; a checkout has it beside the package.
    for candidate in (_PACKAGE / name, _PACKAGE.parent / name):
        if candidate.is_dir():
            return candidate
    raise FewshotError(f"the folder {name}/ is missing from this installation of fewshot; install it again")


def conf_folder() -> Path:
    """The folder of Hydra configuration groups."""
    return _folder("conf")


def manifests_folder() -> Path:
    """The folder of facts about public data sets: class splits, counts, checksums."""
    return _folder("data_manifests")
