import pytest
import torch

from fewshot.augment.shifts import cut_one_by_one, cut_together, moved


@pytest.mark.parametrize("shift", [0, 2])
def test_cuts_made_together_are_those_made_one_by_one(shift):
    generator = torch.Generator().manual_seed(0)
    padded = torch.rand(40, 3, 6 + 2 * shift, 5 + 2 * shift, generator=generator)
    flips = [torch.randint(2, (40,), generator=generator) for _ in range(2)]
    places = [torch.randint(2 * shift + 1, (40,), generator=generator) for _ in range(2)]
    numbers = (*flips, *places, torch.Size((6, 5)))
    assert torch.equal(cut_together(padded, *numbers), cut_one_by_one(padded, *numbers))


def test_a_cut_in_the_middle_is_the_image_and_others_have_its_edge():
    image, none = torch.arange(6.0).view(1, 1, 2, 3), torch.zeros(1, dtype=torch.int64)
    one, two = none + 1, none + 2
    assert torch.equal(moved(image, none, none, one, one, 1), image)
    assert moved(image, none, none, two, none, 1).tolist() == [[[[3, 3, 4], [3, 3, 4]]]]
    assert moved(image, one, none, one, one, 1).tolist() == [[[[2, 1, 0], [5, 4, 3]]]]
    assert moved(image, none, one, one, one, 1).tolist() == [[[[3, 4, 5], [0, 1, 2]]]]
