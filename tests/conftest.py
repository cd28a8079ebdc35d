"""Shapes and types of every annotated function are checked while the tests run."""

import os
from html.parser import HTMLParser

from jaxtyping import install_import_hook

os.environ.setdefault("MPLBACKEND", "Agg")
# The modules whose public functions carry shapes; they must not be imported before this line.
_SHAPED = [
    "augment",
    "backbones",
    "classifiers",
    "distances",
    "episodes.episodes",
    "episodes.prototypes",
    "evaluation.seen_unseen",
    "heads",
    "learners",
    "losses",
    "semantics",
    "task_augmentation",
]
_hook = install_import_hook([f"fewshot.{room}" for room in _SHAPED], "beartype.beartype")

import pytest  # noqa: E402
import torch  # noqa: E402

from fewshot.data.bank import Bank  # noqa: E402


def make_bank(classes=12, per_class=20, size=28, channels=1, noise=0.5, seed=0, counts=None, **parts) -> Bank:
    """A bank of noisy random patterns: a class is a pattern, an item the pattern under noise."""
    generator = torch.Generator().manual_seed(seed)
    counts = counts or [per_class] * classes
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    patterns = torch.randint(0, 256, (len(counts), channels, size, size), generator=generator)
    static = torch.randint(0, 256, (len(labels), channels, size, size), generator=generator)
    items = ((1 - noise) * patterns[labels] + noise * static).to(torch.uint8)
    return Bank(items, labels, [f"class {i}" for i in range(len(counts))], **parts)


@pytest.fixture
def bank() -> Bank:
    return make_bank()


@pytest.fixture
def bank_of():
    return make_bank


class _Cells(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tables, self.inside = [], False

    def handle_starttag(self, tag, attributes):
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        self.inside = tag in ("td", "th")
        if self.inside:
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag):
        self.inside = False

    def handle_data(self, data):
        if self.inside:
            self.tables[-1][-1][-1] += data


@pytest.fixture
def cells():
    """The texts of the tables of some HTML: `[table][row][column]`."""

    def of(text: str) -> list[list[list[str]]]:
        reader = _Cells()
        reader.feed(text)
        return reader.tables

    return of
