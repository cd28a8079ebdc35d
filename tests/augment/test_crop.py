"""Random resized crops against torchvision's, and what boxes are drawn."""

import math

import pytest
import torch
from torchvision.transforms.v2 import functional as reference

from fewshot.augment.crop import draw_boxes, resized_crops, scaled_together
from fewshot.augment.erasing import draw_holes, erase


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("height", "width"), [(20, 20), (12, 17)])
def test_parts_are_scaled_up_as_by_torchvision(height, width):
    x = torch.rand(30, 3, height, width, generator=generator())
    boxes = draw_boxes(30, height, width, (0.05, 1.0), (0.5, 2.0), generator(1))
    expected = [
        reference.resized_crop(image, *box.tolist(), [height, width], antialias=False)
        for image, box in zip(x, boxes, strict=True)
    ]
    torch.testing.assert_close(resized_crops(x, boxes), torch.stack(expected), rtol=0, atol=1e-5)


@pytest.mark.parametrize("scaled", [resized_crops, scaled_together])
@pytest.mark.parametrize(("height", "width", "size"), [(20, 20, 8), (31, 17, 12), (9, 12, 15), (12, 12, 12)])
def test_parts_of_other_sizes_are_scaled_as_by_torchvision(scaled, height, width, size):
    x = torch.rand(30, 3, height, width, generator=generator())
    boxes = draw_boxes(30, height, width, (0.05, 1.0), (0.5, 2.0), generator(1))
    expected = [
        reference.resized_crop(image, *box.tolist(), [size, size], antialias=True)
        for image, box in zip(x, boxes, strict=True)
    ]
    torch.testing.assert_close(scaled(x, boxes, size), torch.stack(expected), rtol=0, atol=2e-5)


def test_a_part_made_smaller_by_a_whole_factor_keeps_its_mean_and_loses_what_is_too_fine():
    stripes = torch.ones(1, 1, 40, 40)
    stripes[..., ::2] = 0
    made = resized_crops(stripes, torch.tensor([[4, 4, 32, 32]]), 8)
    # Without antialiasing it would be 0 or 1 throughout, by where the new pixels lie.
    torch.testing.assert_close(made[..., 1:-1], torch.full((1, 1, 8, 6), 0.5))


def test_the_whole_image_is_the_image():
    x = torch.rand(2, 3, 9, 9, generator=generator())
    assert torch.equal(resized_crops(x, torch.tensor([[0, 0, 9, 9]] * 2)), x)


def test_boxes_lie_inside_and_have_the_shares_and_ratios_asked_for():
    boxes = draw_boxes(20000, 84, 84, (0.08, 1.0), (3 / 4, 4 / 3), generator()).double()
    top, left, h, w = boxes.unbind(1)
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + h <= 84).all()
    assert (left + w <= 84).all()
    share = h * w / 84**2
    assert 0.07 < share.min() < 0.09
    assert share.max() == 1
    # Large parts fit less often, so the mean lies a little below the 0.54 of all that are drawn.
    assert 0.48 < share.mean() < 0.54
    ratio = (w / h).log()
    assert ratio.abs().max() < math.log(4 / 3) + 0.06
    assert abs(ratio.mean()) < 0.01
    # Where a part lies is uniform among the places it fits: half of the room is above it.
    room = 84 - h
    assert abs((top[room > 0] / room[room > 0]).mean() - 0.5) < 0.01


def test_where_no_part_fits_it_is_the_largest_in_the_middle():
    # A quarter as wide as high: all that is asked for is wider than the image.
    boxes = draw_boxes(3, 40, 10, (0.9, 1.0), (1.0, 1.0), generator())
    assert boxes.tolist() == [[15, 0, 10, 10]] * 3


def test_erasing_paints_one_rectangle_with_the_mean_colour_of_some_images():
    x = torch.rand(4000, 3, 20, 20, generator=generator())
    out = erase(x, *draw_holes(*x.shape[::2], x.shape[3], 0.25, generator(1)))
    changed = (out != x).any(1)
    touched = changed.flatten(1).any(1)
    assert abs(touched.double().mean() - 0.25) < 0.03
    mean = x.mean(dim=(2, 3), keepdim=True)
    assert torch.equal(torch.where(changed[:, None], mean, x), out)
    for hole in changed[touched][:50]:
        rows, columns = hole.any(1).nonzero(), hole.any(0).nonzero()
        assert hole[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].all()
    share = changed[touched].double().mean(dim=(1, 2))
    assert share.min() >= 0.015
    assert share.max() <= 0.35
    assert torch.equal(erase(x, *draw_holes(*x.shape[::2], x.shape[3], 0.0, generator())), x)
