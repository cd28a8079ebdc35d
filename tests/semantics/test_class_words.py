"""Class names of public data sets as words."""

import pytest

from fewshot.errors import FewshotError
from fewshot.semantics.class_words import class_words, words_of


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("n01981276 king crab", "king crab"),
        ("n01532829 house finch, linnet, Carpodacus mexicanus", "house finch"),
        ("001.Black_footed_Albatross", "Black footed Albatross"),
        ("pickup_truck", "pickup truck"),
        ("U+0E82 LAO LETTER KHO SUNG", "LAO LETTER KHO SUNG"),
        ("n01981276_king_crab", "king crab"),
        ("7 seas", "7 seas"),
        ("network", "network"),
        ("n01981276", ""),
    ],
)
def test_numbers_in_front_are_left_out(name, words):
    assert words_of(name) == words


def test_a_bank_gives_one_text_for_each_class(bank_of):
    assert class_words(bank_of(3)) == ["class 0", "class 1", "class 2"]


def test_omniglot_has_no_names(bank_of):
    with pytest.raises(FewshotError, match="omniglot/test: its classes have no names that say how they look"):
        class_words(bank_of(3, name="omniglot", split="test"))


@pytest.mark.parametrize("name", ["n01981276", "0042", "001."])
def test_a_class_without_words_is_refused(bank_of, name):
    with pytest.raises(FewshotError, match=f"the class '{name}' has no words"):
        class_words(bank_of(2).replacing(class_names=["cat", name]))
