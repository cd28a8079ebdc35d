"""Configuration nodes to typed values, with errors that name the key."""

import difflib
import typing
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fewshot.errors import FewshotError
from fewshot.instantiation import fitting

T = TypeVar("T")


def plain(node: Any, where: str = "the configuration") -> Any:
    """A configuration node as plain Python, interpolations resolved."""
    try:
        return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
    except OmegaConfBaseException as error:
        raise FewshotError(f"{where}: {str(error).splitlines()[0]}") from error


def typed(cls: type[T], node: DictConfig | Mapping, where: str) -> T:
    """Make the dataclass `cls` of a configuration node.

    Raises:
        FewshotError: an unknown key, a value of another type, or what `cls` itself refuses.
    """
    values = plain(node, where)
    if not isinstance(values, Mapping):
        raise FewshotError(f"{where}={values!r}; expected keys and values such as {where}.{fields(cls)[0].name}=...")
    hints = typing.get_type_hints(cls)
    ready = {}
    for key, value in values.items():
        if key not in hints:
            close = difflib.get_close_matches(str(key), hints, n=1)
            hint = f"did you mean {close[0]}?" if close else f"expected one of {', '.join(hints)}"
            raise FewshotError(f"unknown key {where}.{key}; {hint}")
        ready[key] = fitting(value, hints[key], f"{where}.{key}")
    try:
        return cls(**ready)
    except FewshotError as error:
        text = str(error)
        raise FewshotError(text if text.startswith(where) else f"{where}: {text}") from error
