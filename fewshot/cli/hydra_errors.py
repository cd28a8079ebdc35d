"""Hydra's composition errors in one line that says what to do."""

import difflib
import re
import sys
import traceback
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, OverrideParseException
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
    if isinstance(error, OverrideParseException):
        return f"{error.override!r} is no override; expected key=value, in quotes where it has brackets or spaces"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = " ".join(line for line in lines if not line.startswith(_ADVICE))
    if match := re.search(r"Could not override '([^']+)'", text):
        return f"unknown key {match[1]}{_suggestion(match[1])}; fewshot --help lists keys and choices"
    # Groups of Hydra's own have two parts, and an experiment's name may have two.
    if match := re.search(r"Could not find '(hydra/[^'/]+|[^'/]+)/([^']+)'", text):
        group, name = match.groups()
        if name in _EXTRAS.get(group, ()):
            return f"{group}={name} is not installed; pip install 'fewshot[{_EXTRAS[group][name]}]'"
        choices = text.partition(f"Available options in '{group}':")[2].split()
        choices += [f"{path.parent.name}/{path.stem}" for path in sorted((conf_folder() / group).glob("*/*.yaml"))]
        if close := difflib.get_close_matches(name, choices, n=1, cutoff=0.75):
            return f"{group}={name} is no choice; did you mean {close[0]}?"
        expected = f"expected one of {', '.join(choices)}" if choices else "fewshot --help lists the choices"
        return f"{group}={name} is no choice; {expected}"
    return f"{text}; fewshot --help lists keys and choices"


def wrong_choice(error: TypeError | ValueError) -> str | None:
    """Which override gives a group something other than a name, where that is what Hydra stumbled over; else None."""
    places = [frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__)]
    if Path(places[-1]).name != "defaults_list.py":
        return None
    pairs = (text.partition("=")[::2] for text in sys.argv[1:])
    wrong = [f"{k}={v}" for k, v in pairs if _is_group(k) and not all(map(_is_name, v.split(",")))]
    return f"{', '.join(wrong) or error}: a group takes the name of a choice, such as augment=none; fewshot --help lists them"


def _is_group(key: str) -> bool:
    # The part after the sign says where the choice goes.
    return (conf_folder() / key.lstrip("+~").partition("@")[0]).is_dir()


def _is_name(value: str) -> bool:
    return re.fullmatch(r"[A-Za-z_][\w/.-]*", value) is not None and value.lower() not in ("null", "true", "false")


def _suggestion(key: str) -> str:
    GlobalHydra.instance().clear()
    # What was chosen beside has keys of its own.
    chosen = [text for text in sys.argv[1:] if re.fullmatch(r"\w+=[\w/]+", text)]
    chosen = [text for text in chosen if (conf_folder() / text.replace("=", "/")).with_suffix(".yaml").is_file()]
    try:
        with initialize_config_dir(str(conf_folder()), version_base="1.3"):
            usual, known = (list(_keys(compose("config", files))) for files in ([], chosen))
    except (HydraException, OmegaConfBaseException):
        return ""
    if key in usual:
        # The file that is chosen by default has the key.
        group = key.partition(".")[0]
        return f": the {group} that was chosen has no {key.partition('.')[2]}"
    same_name = [k for k in known if k.rpartition(".")[2] == key.rpartition(".")[2]]
    close = same_name or difflib.get_close_matches(key, known, n=2, cutoff=0.7)
    return f"; did you mean {' or '.join(close[:3])}?" if close else ""


def _keys(node: DictConfig, prefix: str = ""):
    for key in node:
        if str(key).startswith("_"):
            continue
        yield f"{prefix}{key}"
        child = node._get_node(key)
        if isinstance(child, DictConfig):
            yield from _keys(child, f"{prefix}{key}.")
