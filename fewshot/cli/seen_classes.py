"""Classes that training has seen must not be tested, whatever they are called."""

import re
from collections.abc import Iterable, Mapping

from fewshot.data.bank import Bank
from fewshot.errors import FewshotError

_WORDNET, _ROTATION = re.compile(r"n\d{8}\b"), re.compile(r"/rot\d{3}$")


def check_disjoint(bank: Bank, seen: Mapping[str, Iterable[str]]) -> None:
    """Raise a FewshotError if a class of `bank` was seen in training, under whatever name.

    Args:
        bank: to be tested or validated on.
        seen: names of classes by the bank that they were seen in.
    """
    own = {_what(name): name for name in bank.class_names}
    for other, names in seen.items():
        shared = {own[what] for what in own.keys() & {_what(name) for name in names}}
        if shared:
            raise FewshotError(
                f"{len(shared)} of the classes of {other} are in {bank.name}/{bank.split} too, such as "
                f"{min(shared)!r}; meta-test needs classes that training has not seen"
            )


def _what(name: str) -> str:
    """What a class is, however its data set puts it: a WordNet id for what begins with one, a character for its rotations."""
    return _WORDNET.match(name)[0] if _WORDNET.match(name) else _ROTATION.sub("", name)
