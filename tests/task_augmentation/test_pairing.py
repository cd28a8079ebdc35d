import pytest
import torch

from fewshot.errors import FewshotError
from fewshot.task_augmentation.pairing import counterparts


def by_hand(labels, partner_labels, slots, shift=0):
    """The k-th of a class with the k-th of its partner, item by item."""
    found, seen = [], {}
    for label in labels:
        k = seen[label] = seen.get(label, -1) + 1
        partner = [i for i, other in enumerate(partner_labels) if other == slots[label]]
        found.append(partner[(k + shift) % len(partner)])
    return found


@pytest.mark.parametrize("shift", [0, 1])
@pytest.mark.parametrize("even", [True, False])
def test_items_go_with_items_as_if_counted_by_hand(even, shift):
    generator = torch.Generator().manual_seed(0)
    if even:
        base = torch.arange(4).repeat(3).expand(5, -1)
        labels, others = (base.gather(1, torch.rand(5, 12, generator=generator).argsort(1)) for _ in range(2))
    else:
        labels, others = torch.randint(0, 4, (2, 5, 30), generator=generator)
    slots = torch.rand(5, 4, generator=generator).argsort(1)
    found = counterparts(labels, others, slots, shift)
    for b in range(5):
        assert found[b].tolist() == by_hand(labels[b].tolist(), others[b].tolist(), slots[b].tolist(), shift)
    # Every counterpart is of the partner class.
    assert torch.equal(others.gather(1, found), slots.gather(1, labels))


def test_even_classes_are_paired_one_to_one():
    labels = torch.tensor([[0, 1, 2, 2, 1, 0], [2, 0, 1, 1, 2, 0]])
    found = counterparts(labels, labels.flip(0), torch.tensor([[2, 0, 1], [0, 1, 2]]))
    assert torch.equal(found.sort(1).values, torch.arange(6).expand(2, -1))


def test_a_class_without_items_is_refused():
    labels = torch.tensor([[0, 0, 1, 1]])
    with pytest.raises(FewshotError, match="a class of these tasks has no queries"):
        counterparts(labels, labels, torch.tensor([[1, 2, 0]]))
