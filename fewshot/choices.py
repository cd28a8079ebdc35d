"""The files of a configuration group, and their keys."""

import difflib

from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from fewshot.errors import FewshotError
from fewshot.resources import conf_folder


def configured(group: str, name: str) -> DictConfig:
    """The file `name` of a configuration group, in the package or in a folder of the user's.

    Raises:
        FewshotError: there is none.
    """
    if GlobalHydra.instance().is_initialized():
        loader = GlobalHydra.instance().config_loader()
        known = loader.get_group_options(group)
        # The repository knows the search path, with the folders that --config-dir added.
        if name in known:
            return loader.repository.load_config(f"{group}/{name}").config
    else:
        known = sorted(path.stem for path in (conf_folder() / group).glob("*.yaml"))
        if name in known:
            return OmegaConf.load(conf_folder() / group / f"{name}.yaml")
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    raise FewshotError(f"unknown {group} {name!r}{hint} (known: {', '.join(known)})")


def chosen(group: str, name: str, options: dict, where: str) -> DictConfig:
    """The file `name` of a configuration group with some of its keys changed.

    Raises:
        FewshotError: there is no such file, or it has no such key.
    """
    node = configured(group, name)
    unknown = [key for key in options if key not in node]
    if unknown:
        known = ", ".join(key for key in node if not str(key).startswith("_")) or "none"
        raise FewshotError(f"{where}.{name} has no option {unknown[0]!r} (known: {known})")
    return OmegaConf.merge(node, options)
