"""Objects of configuration nodes, with errors of one line."""

from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig

from fewshot.errors import FewshotError


def make(node: DictConfig, where: str, **extra: Any) -> Any:
    """Instantiate the `_target_` of a node; what cannot be made is one line that names the node."""
    if "_target_" not in (node or {}):
        raise FewshotError(f"{where} has no _target_; choose one of the files in conf/{where}/")
    try:
        return instantiate(node, **extra)
    except InstantiationException as error:
        cause = error.__cause__
        while cause is not None and not isinstance(cause, FewshotError) and cause.__cause__ is not None:
            cause = cause.__cause__
        if isinstance(cause, FewshotError):
            raise cause from error
        detail = cause if cause is not None else str(error).splitlines()[0]
        raise FewshotError(f"{where}: cannot make {node._target_}: {detail}") from error
