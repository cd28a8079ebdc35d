"""Hydra's composition errors in one line that says what to do."""

import difflib
import re

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from fewshot.resources import conf_folder

_ADVICE = (
    "To append",
    "Set the environment",
    "full_key",
    "object_type",
    "See https",
    "Config search path",
    "provider=",
)
# Choices that packages bring which not everyone wants.
_EXTRAS = {"hydra/launcher": {"joblib": "sweeps", "submitit_slurm": "slurm", "submitit_local": "slurm"}}


def explain(error: Exception) -> str:
    """What was given, what was expected, and nothing about Hydra's internals."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = " ".join(line for line in lines if not line.startswith(_ADVICE))
    if match := re.search(r"Could not override '([^']+)'", text):
        return f"unknown key {match[1]}{_suggestion(match[1])}; fewshot --help lists keys and choices"
    if match := re.search(r"Could not find '([^']+)/([^'/]+)'", text):
        choices = text.partition(f"Available options in '{match[1]}':")[2].split()
        if match[2] in _EXTRAS.get(match[1], ()):
            return f"{match[1]}={match[2]} is not installed; pip install 'fewshot[{_EXTRAS[match[1]][match[2]]}]'"
        expected = f"; expected one of {', '.join(choices)}" if choices else "; fewshot --help lists the choices"
        return f"{match[1]}={match[2]} is no choice{expected}"
    return f"{text}; fewshot --help lists keys and choices"


def _suggestion(key: str) -> str:
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(conf_folder()), version_base="1.3"):
            known = list(_keys(compose("config")))
    except (HydraException, OmegaConfBaseException):
        return ""
    if key in known:
        # The file that is chosen by default has the key.
        group = key.partition(".")[0]
        return f": the {group} that was chosen has no {key.partition('.')[2]}"
    same_name = [k for k in known if k.rpartition(".")[2] == key.rpartition(".")[2]]
    close = same_name or difflib.get_close_matches(key, known, n=2, cutoff=0.7)
    return f"; did you mean {' or '.join(close[:3])}?" if close else ""


def _keys(node: DictConfig, prefix: str = ""):
    for key in node:
        yield f"{prefix}{key}"
        child = node._get_node(key)
        if isinstance(child, DictConfig):
            yield from _keys(child, f"{prefix}{key}.")
