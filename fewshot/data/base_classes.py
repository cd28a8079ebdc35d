"""Training on few classes: those of a list, or so many of them."""

import hashlib
import json
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from fewshot.data.bank import Bank
from fewshot.data.manifest import class_list
from fewshot.errors import FewshotError

_KEYS = ("list", "number", "seed")


def with_base_classes(bank: Bank, chosen: object, lists: str) -> Bank:
    """The bank of some of the classes of `bank`; the name of its split says which.

    Args:
        bank: all base classes.
        chosen: the name of a list in `data_manifests/`; a list of names; a number of classes, drawn with seed 0; or a mapping
            with `list` (either of the first two), `number` and `seed`, whose `number` counts the list's classes first and
            fills up with others. Draws of one seed are nested. A name stands for the classes that are called so, or that
            begin with it and a blank or `/`: a WordNet id, an alphabet, a character with all its rotations.
        lists: the folder of `data_manifests/` that lists of names are looked for in.

    Raises:
        FewshotError: it says nothing of this kind, or names classes that are not there or more than there are.
    """
    given = dict(chosen) if isinstance(chosen, Mapping) else {"number" if _is_number(chosen) else "list": chosen}
    unknown = [key for key in given if key not in _KEYS]
    if unknown or not given.keys() & {"list", "number"}:
        raise FewshotError(
            f"data.base_classes={chosen}; expected a list's name, names of classes, a number, or {{list: ..., number: ..., seed: 0}}"
        )
    names, number, seed = (given.get(key) for key in _KEYS)
    if names is None and number is None:
        raise FewshotError(f"data.base_classes={chosen} names neither a list nor a number of classes; give one of them")
    listed, text = _listed(bank, names, lists) if names is not None else ([], "")
    if number is not None:
        _check(number, seed, len(listed), bank)
        listed = listed + [c for c in _shuffled(bank, seed or 0) if c not in set(listed)]
        listed = listed[:number]
        count = f"{number} of {bank.num_classes} classes, seed {seed or 0}"
        text = f"{text} and more: {count}" if text else count
    elif seed is not None:
        raise FewshotError(f"data.base_classes={chosen} has a seed and no number of classes to draw; give number too")
    ids = torch.tensor(sorted(listed))
    kept = torch.isin(bank.labels.cpu(), ids).nonzero().flatten()
    return bank.replacing(
        items=bank.items[kept.to(bank.device)],
        labels=torch.searchsorted(ids, bank.labels.cpu()[kept]).to(bank.device),
        class_names=[bank.class_names[c] for c in ids.tolist()],
        class_attributes=None if bank.class_attributes is None else bank.class_attributes[ids.to(bank.device)],
        split=f"{bank.split}[{text}]",
        _known_fingerprint=None,
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)


def _listed(bank: Bank, names: object, lists: str) -> tuple[list[int], str]:
    """The classes that names stand for, and what the split is to be called."""
    if isinstance(names, str):
        wanted, text = class_list(lists, names), names
    elif isinstance(names, Sequence) and names and all(isinstance(name, str) for name in names):
        wanted, text = list(names), None
    else:
        raise FewshotError(f"data.base_classes={names}; expected the name of a list, or names of classes")
    found: dict[int, None] = {}
    for name in wanted:
        of_name = [i for i, c in enumerate(bank.class_names) if c == name or c.startswith((f"{name} ", f"{name}/"))]
        if not of_name:
            raise FewshotError(
                f"data.base_classes names {name!r}, which is no class of {bank.name}/{bank.split}, such as {bank.class_names[0]!r}"
            )
        found.update(dict.fromkeys(of_name))
    if text is None:
        # Rows of other classes are not to be taken for the same.
        chosen = sorted(bank.class_names[c] for c in found)
        text = f"{len(found)} named, {hashlib.sha256(json.dumps(chosen).encode()).hexdigest()[:6]}"
    return list(found), text


def _check(number: object, seed: object, listed: int, bank: Bank) -> None:
    for name, value in (("number", number), ("seed", 0 if seed is None else seed)):
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
            raise FewshotError(f"data.base_classes has {name} {value!r}; expected a whole number, below 2^63")
    if not max(listed, 1) <= number <= bank.num_classes:
        raise FewshotError(
            f"data.base_classes has number {number}; expected {max(listed, 1)} to {bank.num_classes}, the classes of "
            f"{bank.name}/{bank.split}"
        )


def _shuffled(bank: Bank, seed: int) -> list[int]:
    """All classes in an order that depends on their names and the seed alone."""
    by_name = sorted(range(bank.num_classes), key=lambda c: bank.class_names[c])
    order = np.argsort(np.random.Philox(key=seed).random_raw(len(by_name)), kind="stable")
    return [by_name[i] for i in order]
