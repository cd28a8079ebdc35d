import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from fewshot.data.bank import Bank
from fewshot.data.store import description_sha256, open_bank, save_bank
from fewshot.errors import FewshotError


def saved(bank, tmp_path):
    save_bank(bank, tmp_path / "b")
    return tmp_path / "b"


def test_a_bank_comes_back_from_disk_as_it_was(bank_of, tmp_path):
    bank = bank_of(channels=3, counts=[3, 1, 4], name="n", split="s", pipeline="p").replacing(
        class_attributes=torch.rand(3, 5), mean=(0.1, 0.2, 0.3), class_names=("a", "ü\n", "a/b")
    )
    back = open_bank(saved(bank, tmp_path))
    for name in ("items", "labels", "class_attributes"):
        assert torch.equal(getattr(back, name), getattr(bank, name))
    for name in ("class_names", "name", "split", "pipeline", "mean", "std", "fingerprint"):
        assert getattr(back, name) == getattr(bank, name)
    assert back.replacing(_known_fingerprint=None).fingerprint == bank.fingerprint


def test_items_are_mapped_not_read_and_the_file_cannot_be_changed_through_them(bank, tmp_path):
    folder = saved(bank, tmp_path)
    before = (folder / "items.npy").read_bytes()
    back = open_bank(folder)
    maps = Path("/proc/self/maps")
    if maps.is_file():
        assert str(folder / "items.npy") in maps.read_text()
    back.items.zero_()
    assert (folder / "items.npy").read_bytes() == before


def test_fingerprint_tells_content_and_nothing_else(bank):
    assert bank.replacing(name="other", _known_fingerprint=None).fingerprint == bank.fingerprint
    changed = bank.items.clone()
    changed[7, 0, 3, 3] ^= 1
    different = [
        bank.replacing(items=changed),
        bank.replacing(class_names=[*bank.class_names[:-1], "x"]),
        bank.replacing(items=bank.items.reshape(-1, 1, 14, 56)),
    ]
    assert len({b.fingerprint for b in different} | {bank.fingerprint}) == 4


def truncate(folder):
    path = folder / "items.npy"
    path.write_bytes(path.read_bytes()[:-10])
    return "items.npy"


def flip_a_byte(folder):
    path = folder / "items.npy"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    return "items.npy"


def lose_labels(folder):
    (folder / "labels.npy").unlink()
    return "labels.npy"


def foreign_description(folder):
    (folder / "bank.json").write_text('{"hello": 1}')
    return "bank.json"


def garbled_description(folder):
    (folder / "bank.json").write_text("{")
    return "bank.json"


def later_version(folder):
    text = json.loads((folder / "bank.json").read_text())
    (folder / "bank.json").write_text(json.dumps(text | {"version": 99}))
    return "version 99"


def signed(description):
    return json.dumps(description | {"sha256": description_sha256(description)})


def no_names(folder):
    text = json.loads((folder / "bank.json").read_text())
    del text["class_names"]
    (folder / "bank.json").write_text(signed(text))
    return "class_names"


def edited_names(folder):
    text = json.loads((folder / "bank.json").read_text())
    text["class_names"].reverse()
    (folder / "bank.json").write_text(json.dumps(text))
    return "bank.json is damaged"


def pickled_items(folder):
    np.save(folder / "items.npy", np.array([{}], dtype=object), allow_pickle=True)
    text = json.loads((folder / "bank.json").read_text())
    text["files"]["items"]["bytes"] = (folder / "items.npy").stat().st_size
    (folder / "bank.json").write_text(signed(text))
    return "items.npy"


@pytest.mark.parametrize(
    "damage",
    [
        truncate,
        flip_a_byte,
        lose_labels,
        foreign_description,
        garbled_description,
        later_version,
        no_names,
        edited_names,
        pickled_items,
    ],
)
def test_a_damaged_bank_is_refused_in_one_line_that_names_the_file(bank, tmp_path, damage):
    folder = saved(bank, tmp_path)
    word = damage(folder)
    with pytest.raises(FewshotError) as caught:
        open_bank(folder)
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_object_array_is_not_unpickled_even_without_checksums(bank, tmp_path):
    folder = saved(bank, tmp_path)
    pickled_items(folder)
    with pytest.raises(FewshotError, match=r"items\.npy"):
        open_bank(folder, check="never")


def test_a_save_that_fails_leaves_nothing_under_the_final_name(bank, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("fewshot.data.store.json.dumps", fail)
    with pytest.raises(KeyboardInterrupt):
        save_bank(bank, tmp_path / "b")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_else_in_it_is_not_overwritten(bank, tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.txt").write_text("years of work")
    with pytest.raises(FewshotError, match="is not a prepared bank"):
        save_bank(bank, tmp_path / "b")
    assert (tmp_path / "b" / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"labels": torch.tensor([0, 1, 0, 1])}, "ascend"),
        ({"labels": torch.tensor([0, 0, 2, 2])}, "ascend"),
        ({"labels": torch.tensor([1, 1, 2, 2])}, "ascend"),
        ({"labels": torch.tensor([0, 0, 1])}, "int64 [4]"),
        ({"class_names": ["a"]}, "1 class names for 2 classes"),
        ({"items": torch.zeros(4, 1, 2, 2)}, "expected uint8"),
        ({"items": torch.zeros(4, 2, dtype=torch.int64)}, "expected floating point"),
        ({"items": torch.zeros(4, 2, 2)}, "expected [n, c, h, w]"),
        ({"mean": (0.1, 0.2)}, "2 values for 1 channels"),
        ({"class_attributes": torch.zeros(3, 2)}, "3 rows of attributes"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes, word):
    parts = {
        "items": torch.zeros(4, 1, 2, 2, dtype=torch.uint8),
        "labels": torch.tensor([0, 0, 1, 1]),
        "class_names": ["a", "b"],
    }
    with pytest.raises(FewshotError) as caught:
        Bank(**(parts | changes))
    assert word in str(caught.value)


def test_a_bank_of_features_keeps_classes_and_gets_a_fingerprint_of_its_own(bank, tmp_path):
    features = bank.with_features(torch.rand(len(bank), 5))
    assert not features.is_images
    assert features.class_names == bank.class_names
    assert features.fingerprint != bank.fingerprint
    assert torch.equal(open_bank(saved(features, tmp_path)).items, features.items)


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor], ids=["numpy", "torch"])
def test_items_in_any_order_with_any_labels_become_a_bank(kind):
    features, labels = np.arange(12.0).reshape(6, 2), np.array([30, -1, 30, 7, -1, 30])
    made = Bank.of(kind(features), kind(labels), name="mine")
    assert made.class_names == ("-1", "7", "30")
    assert made.labels.tolist() == [0, 0, 1, 2, 2, 2]
    assert made.items[:, 0].tolist() == [2, 8, 6, 0, 4, 10]
    assert made.name == "mine"
    assert not made.is_images


def test_labels_may_be_names_and_names_other_than_labels(tmp_path):
    images = np.zeros((3, 1, 2, 2), np.uint8)
    assert Bank.of(images, ["b", "a", "b"]).class_names == ("a", "b")
    assert Bank.of(images, ["b", "a", "b"], class_names=["first", "second"]).class_names == ("first", "second")
    np.save(tmp_path / "f.npy", np.ones((3, 4), np.float32))
    assert len(Bank.of(np.load(tmp_path / "f.npy", mmap_mode="r"), [1, 0, 1])) == 3
    with pytest.raises(FewshotError, match=r"labels of shape \(2,\) for items of shape \(3, 1, 2, 2\)"):
        Bank.of(images, [0, 1])


def test_features_of_any_kind_are_kept_in_32_bits_and_what_is_known_of_classes_with_them():
    for kind in (np.float16, np.float64, torch.bfloat16):
        items = torch.ones(4, 3, dtype=kind) if isinstance(kind, torch.dtype) else np.ones((4, 3), kind)
        assert Bank.of(items, [0, 0, 1, 1]).items.dtype == torch.float32
    learned = Bank.of(torch.ones(4, 3, requires_grad=True), [0, 0, 1, 1], class_attributes=[[1, 2], [3, 4]])
    assert not learned.items.requires_grad
    assert learned.fingerprint
    assert learned.class_attributes.tolist() == [[1, 2], [3, 4]]
    assert Bank.of(np.ones((4, 3)), [0, 0, 1, 1], class_names=np.array([5, 6])).class_names == ("5", "6")


def test_names_that_are_whole_numbers_are_sorted_as_such():
    features = np.ones((3, 2))
    assert Bank.of(features, ["10", "9", "11"]).class_names == ("9", "10", "11")
    assert Bank.of(features, np.array(["10", "9", "11"], object)).class_names == ("9", "10", "11")
    assert Bank.of(features, ["10", "09", "11"]).class_names == ("09", "10", "11")
    assert Bank.of(features, ["10", "9", "b"]).class_names == ("10", "9", "b")
    assert len(Bank.of(features, ["1" * 25, "2", "3"]).class_names) == 3
    assert Bank.of(features, [b"cat", b"dog", b"cat"]).class_names == ("cat", "dog")
    assert Bank.of(features, np.array([1, np.int64(2), 1.0], object)).num_classes == 2


@pytest.mark.parametrize(
    ("items", "labels", "about", "words"),
    [
        (np.ones((3, 2)), [1.0, np.nan, 2.0], {}, "1 labels are no number"),
        (
            np.ones((3, 2)),
            [1, "a", None],
            {},
            "labels of type NoneType, int, str; expected numbers alone or names alone",
        ),
        (np.ones((3, 2)), [0, 1, 1], {"class_names": ["a", "a"]}, "two classes have one name"),
        (np.ones((3, 2)), [0, 1, 1], {"class_attributes": [1, 2]}, "expected finite ones [classes, a]"),
        (np.ones((3, 2)), [0, 1, 1], {"class_attributes": [[1.0], [np.inf]]}, "expected finite ones [classes, a]"),
        (np.zeros((3, 28, 28, 3), np.uint8), [0, 1, 1], {}, "expected [n, c, h, w], channels first"),
    ],
)
def test_what_is_no_bank_is_one_line(items, labels, about, words):
    with pytest.raises(FewshotError, match=re.escape(words)):
        Bank.of(items, np.array(labels, object) if None in labels else labels, **about)


def test_features_made_of_the_same_items_have_one_fingerprint_for_the_same_labels_alone():
    features = np.ones((4, 2))
    same = Bank.of(features, [0, 0, 1, 1], made_of="photos").made_of
    assert Bank.of(2 * features, [0, 0, 1, 1], made_of="photos").made_of == same
    assert Bank.of(features, [0, 1, 0, 1], made_of="others").made_of != same
    assert Bank.of(features, ["a", "a", "b", "b"], made_of="photos").made_of != same
    images = Bank.of(np.zeros((4, 1, 2, 2), np.uint8), [0, 0, 1, 1])
    once = images.with_features(torch.ones(4, 3))
    assert once.made_of == once.with_features(torch.zeros(4, 5)).made_of == images.fingerprint
