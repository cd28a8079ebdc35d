"""Objects of configuration nodes, with errors of one line."""

import inspect
from collections.abc import Mapping
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig

from fewshot.errors import FewshotError


def accepted(node: DictConfig, offered: dict[str, Any]) -> dict[str, Any]:
    """Those of the offered arguments that the `_target_` of a node takes and the node does not set itself."""
    parameters = _parameters(node)
    return {name: value for name, value in offered.items() if name in parameters and name not in node}


def _floats(node: DictConfig) -> dict[str, float]:
    """The whole numbers of a node that its `_target_` takes as floats: `scale=100` means 100.0."""
    parameters = _parameters(node)
    values = {name: node[name] for name in parameters if name in node}
    whole = {name: v for name, v in values.items() if isinstance(v, int) and not isinstance(v, bool)}
    return {name: float(v) for name, v in whole.items() if parameters[name].annotation in (float, float | None)}


def _parameters(node: DictConfig) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(get_object(str(node._target_))).parameters
    except (ImportError, ValueError, TypeError):
        return {}


def make(node: DictConfig, where: str, **extra: Any) -> Any:
    """Instantiate the `_target_` of a node; what cannot be made is one line that names the node."""
    if "_target_" not in (node or {}):
        raise FewshotError(f"{where} has no _target_; choose one of the files in conf/{where}/")
    try:
        return instantiate(node, **_floats(node), **extra)
    except InstantiationException as error:
        cause = error.__cause__
        while cause is not None and not isinstance(cause, FewshotError) and cause.__cause__ is not None:
            cause = cause.__cause__
        if isinstance(cause, FewshotError):
            raise cause from error
        detail = cause if cause is not None else str(error).splitlines()[0]
        raise FewshotError(f"{where}: cannot make {node._target_}: {detail}") from error
