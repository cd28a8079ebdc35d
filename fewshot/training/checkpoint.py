"""Checkpoints and weights as safetensors: tensors and JSON, and nothing that could run code."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from fewshot.errors import FewshotError
from fewshot.files import replacing

_TREE = "fewshot_tree"
# Where learners have their backbone: most, those that wrap another one, and those of learn2learn.
_BACKBONES = ("backbone.", "learner.backbone.", "algorithm.module.backbone.", "body.")


def save_tree(path: Path | str, tree: Any) -> None:
    """Write nested dicts, lists, numbers, strings and tensors to `path`, atomically.

    Integer keys of dicts (an optimiser's state has them) come back as integers.
    """
    tensors: dict[str, Tensor] = {}
    text = json.dumps(_pack(tree, tensors))
    if not tensors:
        # An empty file of tensors is not valid.
        tensors["_"] = torch.zeros(1)
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={_TREE: text})


def load_tree(path: Path | str, device: torch.device | str = "cpu") -> Any:
    """Read what `save_tree` wrote.

    Raises:
        FewshotError: the file is missing, damaged or was written by something else.
    """
    with _opened(path, device) as (node, file):
        return _unpack(node, file)


@contextmanager
def _opened(path: Path | str, device: torch.device | str = "cpu") -> Iterator[tuple[Any, safe_open]]:
    """What `save_tree` packed, and the file that has its tensors."""
    path = Path(path)
    if not path.is_file():
        raise FewshotError(f"no checkpoint at {path}; give the path of a .safetensors file that a run wrote")
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            text = (file.metadata() or {}).get(_TREE)
            if text is None:
                raise FewshotError(f"{path} was not written by fewshot; give a .safetensors file of a run")
            yield json.loads(text), file
    except (SafetensorError, ValueError, OSError) as error:
        raise FewshotError(f"{path} is damaged or no checkpoint ({error}); use another one") from error


def save_weights(path: Path | str, weights: dict[str, Tensor], facts: dict) -> None:
    """Write a learner's weights and `facts` (plain JSON) to `path`, atomically.

    Whatever reads safetensors finds each weight under `weights.` and its name in the learner.
    """
    save_tree(path, {"weights": weights, "facts": facts})


def load_weights(path: Path | str) -> tuple[dict[str, Tensor], dict]:
    """The weights and facts in `path`.

    Raises:
        FewshotError: the file is missing, damaged, or holds no weights.
    """
    tree = load_tree(path)
    if not isinstance(tree, dict) or "weights" not in tree:
        raise _no_weights(path)
    return tree["weights"], tree["facts"]


def load_facts(path: Path | str) -> dict:
    """The facts beside the weights in `path`, without reading those.

    Raises:
        FewshotError: the file is missing, damaged, or holds no weights.
    """
    with _opened(path) as (node, file):
        parts = dict(node.get("dict", ()))
        if "weights" not in parts:
            raise _no_weights(path)
        return _unpack(parts["facts"], file)


def _no_weights(path: Path | str) -> FewshotError:
    return FewshotError(f"{path} holds no weights; give best.safetensors or last.safetensors of a run")


def backbone_weights(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Those of a learner's weights that are its backbone's, by their names there; none if it has no backbone."""
    for start in _BACKBONES:
        if any(name.startswith(start) for name in weights):
            return {name.removeprefix(start): w for name, w in weights.items() if name.startswith(start)}
    return {}


def _pack(node: Any, tensors: dict[str, Tensor], path: str = "") -> Any:
    if isinstance(node, Tensor):
        name = path if path not in tensors else f"{path}#{len(tensors)}"
        # A copy of its own: safetensors refuses tensors that share memory, and strided layouts.
        tensors[name] = node.detach().cpu().contiguous().clone()
        return {"tensor": name}
    if isinstance(node, dict):
        return {"dict": [[key, _pack(value, tensors, f"{path}.{key}".lstrip("."))] for key, value in node.items()]}
    if isinstance(node, list | tuple):
        return {"list": [_pack(value, tensors, f"{path}.{i}".lstrip(".")) for i, value in enumerate(node)]}
    return {"value": node}


def _unpack(node: Any, file) -> Any:
    (kind, content), *_ = node.items()
    if kind == "tensor":
        return file.get_tensor(content)
    if kind == "dict":
        return {key: _unpack(value, file) for key, value in content}
    if kind == "list":
        return [_unpack(value, file) for value in content]
    return content
