import pytest
import torch

from fewshot.data.held_out import halves, hold_out
from fewshot.errors import FewshotError


def ids(bank):
    return {bytes(item.numpy().tobytes()) for item in bank.items}


def test_each_class_gives_its_share_and_no_image_is_on_both_sides(bank_of):
    bank = bank_of(counts=[20, 5, 2, 40], size=8)
    kept, held = hold_out(bank, 0.2)
    assert held.counts.tolist() == [4, 1, 1, 8]
    assert kept.counts.tolist() == [16, 4, 1, 32]
    assert ids(kept) & ids(held) == set()
    assert ids(kept) | ids(held) == ids(bank)
    assert kept.class_names == held.class_names == bank.class_names
    assert (kept.split, held.split) == ("all", "all held out")
    for part in (kept, held):
        by_class = {
            bytes(item.numpy().tobytes()): int(label) for item, label in zip(bank.items, bank.labels, strict=True)
        }
        assert all(by_class[bytes(i.numpy().tobytes())] == int(c) for i, c in zip(part.items, part.labels, strict=True))


def test_the_same_images_are_held_out_each_time_and_they_have_fingerprints_of_their_own(bank):
    first, second = hold_out(bank, 0.25), hold_out(bank, 0.25)
    assert [part.fingerprint for part in first] == [part.fingerprint for part in second]
    assert len({bank.fingerprint, *(part.fingerprint for part in first)}) == 3
    # Not the first of each class: files are often sorted.
    held = first[1].items[first[1].labels == 0]
    assert not all(any(torch.equal(item, other) for other in held) for item in bank.items[:5])


def test_attributes_go_along(bank):
    known = bank.replacing(class_attributes=torch.rand(bank.num_classes, 3))
    for part in (*hold_out(known, 0.3), *halves(known)):
        assert torch.equal(part.class_attributes, known.class_attributes)


def test_halves_share_the_images_of_each_class(bank_of):
    bank = bank_of(counts=[6, 7, 2], size=8)
    first, second = halves(bank)
    assert (first.counts.tolist(), second.counts.tolist()) == ([3, 4, 1], [3, 3, 1])
    assert ids(first) & ids(second) == set()
    assert ids(first) | ids(second) == ids(bank)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, "half", True])
def test_an_impossible_share_is_one_line(bank, share):
    with pytest.raises(FewshotError, match="held_out="):
        hold_out(bank, share)


def test_a_class_of_one_image_is_one_line(bank_of):
    bank = bank_of(counts=[3, 1], size=8)
    with pytest.raises(FewshotError, match="class 'class 1' of bank/all has a single image"):
        hold_out(bank, 0.5)
    with pytest.raises(FewshotError, match="has one image, which cannot be halved; hold out more"):
        halves(bank)
