"""Objects of configuration nodes, with errors of one line."""

import contextlib
import inspect
import types
import typing
from collections.abc import Mapping
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig
from torch import nn

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


def _check_types(node: DictConfig, where: str) -> None:
    """Raise a FewshotError where a plain value is not what the `_target_` of a node says it takes."""
    target = get_object(str(node._target_))
    try:
        hints = typing.get_type_hints(target.__init__ if inspect.isclass(target) else target)
    except (NameError, TypeError, AttributeError, SyntaxError):
        # Shapes in annotations are no types, and others need not say any.
        return
    for name, hint in hints.items():
        # What a list or a function is of says nothing of the value itself.
        union = typing.get_origin(hint) in (types.UnionType, typing.Union)
        kinds = set(typing.get_args(hint)) if union else {hint}
        if name in node and kinds <= {int, float, str, bool, type(None)}:
            fitting(node[name], hint, f"{where}.{name}")


def _check_names(node: DictConfig, where: str) -> None:
    """Raise a FewshotError where a node sets what its `_target_` does not take, as a recipe's options of another choice."""
    parameters = _parameters(node)
    if not parameters or any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    # Hydra's own words are _target_, _partial_ and the like.
    foreign = [name for name in node if name not in parameters and not (name.startswith("_") and name.endswith("_"))]
    if foreign:
        drop = " ".join(f"~{where}.{name}" for name in foreign)
        takes = ", ".join(name for name in parameters) or "nothing"
        raise FewshotError(
            f"{where}: {node._target_} has no {' or '.join(foreign)} (it takes {takes}); "
            f"an option that a recipe sets for another choice goes away with {drop}"
        )


def make(node: DictConfig, where: str, **extra: Any) -> Any:
    """Instantiate the `_target_` of a node; what cannot be made is one line that names the node."""
    if "_target_" not in (node or {}):
        raise FewshotError(f"{where} has no _target_; choose one of the files in conf/{where}/")
    with contextlib.suppress(ImportError):
        # What cannot be imported is told by hydra, below.
        _check_names(node, where)
        _check_types(node, where)
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


def make_module(node: DictConfig, where: str, **extra: Any) -> nn.Module:
    """`make` for what must be a `torch.nn.Module`."""
    made = make(node, where, **extra)
    if not isinstance(made, nn.Module):
        raise FewshotError(f"{where}: {node._target_} made a {type(made).__name__}; expected a torch.nn.Module")
    return made


def fitting(value: Any, hint: Any, where: str) -> Any:
    """`value` as `hint` has it: whole numbers are floats where floats are taken, lists are tuples.

    Raises:
        FewshotError: it is of another type.
    """
    union = typing.get_origin(hint) in (types.UnionType, typing.Union)
    allowed = typing.get_args(hint) if union else (hint,)
    allowed = tuple(typing.get_origin(kind) or kind for kind in allowed)
    if isinstance(value, list) and tuple in allowed:
        return tuple(value)
    if isinstance(value, bool):
        fits = bool in allowed
    elif isinstance(value, int) and int not in allowed:
        fits = float in allowed or str in allowed
        value = float(value) if float in allowed else str(value)
    else:
        fits = isinstance(value, allowed)
    if not fits:
        names = {
            int: "a whole number",
            float: "a number",
            str: "text",
            bool: "true or false",
            tuple: "a list",
            type(None): "null",
        }
        expected = " or ".join(names.get(kind, kind.__name__) for kind in allowed)
        raise FewshotError(f"{where}={value!r}; expected {expected}")
    return value
