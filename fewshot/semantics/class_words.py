"""What a class is called, in words that a person would use."""

import re

from fewshot.data.bank import Bank
from fewshot.errors import FewshotError

# A WordNet id, a CUB number, or a code point before the words.
_NUMBER = re.compile(r"(n\d{8}|\d+\.|U\+[0-9A-F]{4,6})(?=[\s_]|(?<=\.))\s*", re.ASCII)
_WORDNET_ALONE = re.compile(r"n\d{8}")
_NAMELESS = ("omniglot",)


def class_words(bank: Bank) -> list[str]:
    """The words of each class of a bank, such as `king crab` for `n01981276 king crab`.

    Numbers of WordNet, CUB and Unicode in front are left out, underscores are spaces, and of several names that commas
    part the first counts: one name for each class.

    Raises:
        FewshotError: the data set's classes have no names that mean anything, or one has no letters.
    """
    where = f"{bank.name}/{bank.split}"
    if bank.name in _NAMELESS:
        raise FewshotError(
            f"{where}: its classes have no names that say how they look, such as {bank.class_names[0]!r}; leave semantics "
            f"out, or use another data set"
        )
    words = [words_of(name) for name in bank.class_names]
    for name, text in zip(bank.class_names, words, strict=True):
        if not any(c.isalpha() for c in text):
            raise FewshotError(
                f"{where}: the class {name!r} has no words; name its folder after what it shows, or leave semantics out"
            )
    return words


def words_of(name: str) -> str:
    """The words of one class's name; empty if it has none."""
    text = name.strip()
    if _WORDNET_ALONE.fullmatch(text):
        return ""
    found = _NUMBER.match(text)
    text = text[found.end() :] if found else text
    return " ".join(text.partition(",")[0].replace("_", " ").split())
