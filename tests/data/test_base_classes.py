from itertools import pairwise

import pytest
import torch

from fewshot.data.base_classes import with_base_classes
from fewshot.data.manifest import class_list
from fewshot.episodes.protocol import Protocol
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.errors import FewshotError


def named(bank_of, names, **parts):
    bank = bank_of(classes=len(names), per_class=6, size=4, name="toy", split="train", **parts)
    return bank.replacing(class_names=names)


WORDS = ("Greek/alpha/rot000", "Greek/alpha/rot090", "Greek/beta/rot000", "Greek/beta/rot090", "Grey/a/rot000")


def test_items_of_the_chosen_classes_are_kept_as_they_are(bank_of):
    bank = named(bank_of, ["n3 c", "n1 a", "n2 b", "n12 d"], counts=[3, 5, 2, 4])
    bank = bank.replacing(class_attributes=torch.arange(8.0).reshape(4, 2))
    few = with_base_classes(bank, ["n2", "n3 c"], "toy")
    assert few.class_names == ("n3 c", "n2 b")
    assert few.labels.tolist() == [0, 0, 0, 1, 1]
    assert torch.equal(few.items, torch.cat([bank.items[:3], bank.items[8:10]]))
    assert few.class_attributes.tolist() == [[0, 1], [4, 5]]
    assert few.split == "train[2 named, 89c5ba]"
    # Other classes, other words; the same ones twice are not counted twice.
    assert with_base_classes(bank, ["n1 a", "n3 c"], "toy").split[:15] == "train[2 named, "
    assert with_base_classes(bank, ["n1 a", "n3 c"], "toy").split != few.split
    assert with_base_classes(bank, ["n3 c", "n2", "n2 b"], "toy").split == few.split
    assert few.fingerprint != bank.fingerprint
    assert few.mean == bank.mean
    # What came out of disk with a fingerprint of its own has another now.
    assert few.fingerprint == few.replacing(_known_fingerprint=None).fingerprint


def test_a_name_stands_for_all_that_it_is_the_beginning_of(bank_of):
    bank = named(bank_of, WORDS)
    assert with_base_classes(bank, ["Greek"], "toy").class_names == WORDS[:4]
    assert with_base_classes(bank, ["Greek/beta"], "toy").class_names == WORDS[2:4]
    with pytest.raises(FewshotError, match="names 'Gre', which is no class of toy/train, such as 'Greek/alpha/rot000'"):
        with_base_classes(bank, ["Gre"], "toy")


def test_numbers_are_nested_and_do_not_depend_on_the_order_of_the_classes(bank_of):
    names = [f"class {i:02d}" for i in range(30)]
    bank, turned = named(bank_of, names), named(bank_of, names[::-1])

    def chosen(number, seed=0, source=bank):
        return set(with_base_classes(source, {"number": number, "seed": seed}, "toy").class_names)

    assert chosen(5) < chosen(12) < chosen(29)
    assert len(chosen(12)) == 12
    assert chosen(12) == chosen(12, source=turned)
    assert chosen(12) != chosen(12, seed=1)
    few = with_base_classes(bank, 12, "toy")
    assert set(few.class_names) == chosen(12)
    assert few.split == "train[12 of 30 classes, seed 0]"
    every = with_base_classes(bank, 30, "toy")
    assert torch.equal(every.items, bank.items)
    assert every.fingerprint == bank.fingerprint


def test_a_list_is_filled_up_to_a_number(bank_of):
    names = class_list("mini_imagenet", "ravi_train")
    bank = named(bank_of, names)
    small = with_base_classes(bank, "mini_imagenet_s", "mini_imagenet")
    assert set(small.class_names) == set(class_list("mini_imagenet", "mini_imagenet_s"))
    assert small.num_classes == 12
    assert small.split == "train[mini_imagenet_s]"
    sizes = [
        with_base_classes(bank, {"list": "mini_imagenet_s", "number": n}, "mini_imagenet") for n in (12, 25, 38, 64)
    ]
    for less, more in pairwise(sizes):
        assert set(less.class_names) < set(more.class_names)
    assert set(sizes[0].class_names) == set(small.class_names)
    assert sizes[1].split == "train[mini_imagenet_s and more: 25 of 64 classes, seed 0]"


def test_the_list_of_mini_imagenet_s_is_that_of_the_released_places():
    order = sorted(class_list("mini_imagenet", "ravi_train"))
    places = (26, 59, 14, 16, 17, 52, 8, 39, 46, 32, 20, 57)
    assert class_list("mini_imagenet", "mini_imagenet_s") == [order[i] for i in places]


def test_episodes_of_few_classes_are_episodes(bank_of):
    few = with_base_classes(bank_of(classes=12), 6, "toy")
    drawn = EpisodeSampler(few, Protocol(way=5, query=3)).indices(0, 50)
    assert set(drawn.classes.flatten().tolist()) == set(range(6))


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (0, "has number 0; expected 1 to 5"),
        (6, "has number 6; expected 1 to 5"),
        (2.5, "has number 2.5; expected a whole number"),
        (True, "has number True; expected a whole number"),
        ([], r"expected the name of a list, or names of classes"),
        ([3], r"expected the name of a list, or names of classes"),
        ("no_such_list", "no list 'no_such_list' for toy"),
        ({"count": 3}, "expected a list's name, names of classes, a number"),
        ({"seed": 3}, "expected a list's name, names of classes, a number"),
        ({"list": ["Greek"], "seed": 3}, "has a seed and no number"),
        ({"list": ["Greek"], "number": 3}, "has number 3; expected 4 to 5"),
        ({"number": 3, "seed": "a"}, "has seed 'a'; expected a whole number"),
    ],
)
def test_what_says_nothing_is_refused(bank_of, chosen, message):
    with pytest.raises(FewshotError, match=message):
        with_base_classes(named(bank_of, WORDS), chosen, "toy")
