"""Boxes contain what they are to contain, and no more where modules are affine or monotone."""

import itertools
from unittest.mock import patch

import pytest
import torch
from torch import nn

from fewshot.backbones.conv4 import Conv4
from fewshot.backbones.resnet12 import WIDTHS, ResNet12
from fewshot.errors import FewshotError
from fewshot.task_augmentation.bounds import Box, through


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def shaken(network, seed=0):
    """Random weights, scales of both signs in BatchNorm, and statistics of its own, as after some training."""
    generator = torch.Generator().manual_seed(seed)
    for part in network.double().modules():
        if isinstance(part, nn.Conv2d):
            part.weight.data = (
                torch.randn(part.weight.shape, generator=generator).double() / part.weight[0].numel() ** 0.5
            )
            if part.bias is not None:
                part.bias.data.zero_()
        if isinstance(part, nn.BatchNorm2d):
            for name, low in (("weight", -1.0), ("bias", -1.0), ("running_mean", -0.5), ("running_var", 0.5)):
                values = low + 2 * torch.rand(part.num_features, generator=generator, dtype=torch.float64)
                getattr(part, name).data.copy_(values)
    return network


def resnet():
    with patch.dict(WIDTHS, tiny=(4, 6, 8, 10)):
        return ResNet12(channels=2, widths="tiny", image_size=16, drop_rate=0.0)


BACKBONES = {
    "conv4": lambda: shaken(Conv4(channels=2, width=6, image_size=16)),
    "resnet12": lambda: shaken(resnet()),
}


def box_of(x, eps):
    return Box(x, torch.full_like(x, eps), torch.full_like(x, eps))


def carried(network, x, eps, blocks):
    box = box_of(x, eps)
    for block in network.blocks[:blocks]:
        box = through(block, box)
    return box


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("blocks", [1, 2, 4])
def test_a_thousand_points_of_the_box_lie_within_the_bounds(name, blocks):
    network, x, eps = BACKBONES[name]().eval(), random(1, 2, 16, 16), 0.05
    box = carried(network, x, eps, blocks)
    assert torch.equal(box.point, network.forward_to(blocks, x))
    noise = 2 * torch.rand(1000, 2, 16, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64) - 1
    # Half of the points are corners of the box.
    noise[:500] = noise[:500].sign()
    with torch.no_grad():
        outputs = network.forward_to(blocks, x + eps * noise)
    slack = 1e-9 * box.upper.abs().max()
    assert bool((outputs <= box.upper + slack).all())
    assert bool((outputs >= box.lower - slack).all())


@pytest.mark.parametrize("name", BACKBONES)
def test_in_training_bounds_are_normalised_by_the_points_and_contain_what_is_normalised_so(name):
    network, x, eps = BACKBONES[name]().train(), random(6, 2, 16, 16), 0.02
    statistics = {}

    def remember(norm, given):
        statistics.setdefault(norm, torch.var_mean(given[0].detach(), (0, 2, 3), correction=0))

    norms = [part for part in network.modules() if isinstance(part, nn.BatchNorm2d)]
    hooks = [norm.register_forward_pre_hook(remember) for norm in norms]
    box = carried(network, x, eps, 2)
    for hook in hooks:
        hook.remove()
    for norm in norms:
        if norm in statistics:
            norm.running_var.copy_(statistics[norm][0])
            norm.running_mean.copy_(statistics[norm][1])
    network.eval()
    torch.testing.assert_close(network.forward_to(2, x), box.point)
    for seed in range(40):
        noise = 2 * torch.rand(x.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 1
        outputs = network.forward_to(2, x + eps * (noise.sign() if seed % 2 else noise))
        assert bool((outputs <= box.upper + 1e-9).all() and (outputs >= box.lower - 1e-9).all())


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("training", [False, True])
def test_a_box_without_width_stays_one_to_the_bit(name, training):
    network, x = BACKBONES[name]().train(training), random(4, 2, 16, 16)
    box = carried(network, x, 0.0, 4)
    assert not box.above.any()
    assert not box.below.any()
    twin = BACKBONES[name]().train(training)
    assert torch.equal(box.point, twin.forward_to(4, x))
    assert all(torch.equal(a, b) for a, b in zip(network.buffers(), twin.buffers(), strict=True))


@pytest.mark.parametrize("name", BACKBONES)
def test_larger_boxes_hold_smaller_ones(name):
    network, x = BACKBONES[name]().eval(), random(2, 2, 16, 16)
    boxes = [carried(network, x, eps, 3) for eps in (0.01, 0.05, 0.1)]
    for small, large in itertools.pairwise(boxes):
        assert bool((small.upper <= large.upper).all() and (small.lower >= large.lower).all())
        assert bool((large.lower <= large.point).all() and (large.point <= large.upper).all())


@pytest.mark.parametrize("make", [lambda: nn.Conv2d(2, 3, 3, padding=1, stride=2), lambda: nn.Linear(32, 3)])
def test_an_affine_module_reaches_its_bounds_in_a_corner(make):
    torch.manual_seed(0)
    module, x, eps = make().double(), random(1, 2, 4, 4), 0.3
    x = x.flatten(1) if isinstance(module, nn.Linear) else x
    box = through(module, box_of(x, eps))
    jacobian = torch.autograd.functional.jacobian(module, x)
    for index in itertools.product(*(range(n) for n in box.point.shape)):
        corner = module(x + eps * jacobian[index].sign())
        torch.testing.assert_close(corner[index], box.upper[index])
        torch.testing.assert_close(module(x - eps * jacobian[index].sign())[index], box.lower[index])


def test_uneven_boxes_are_those_of_the_middle_and_half_the_width():
    """The authors' form: m' = W m + b and r' = |W| r, with m and r of the bounds themselves."""
    torch.manual_seed(0)
    module = nn.Conv2d(2, 3, 3, padding=1).double()
    box = Box(random(2, 2, 5, 5), random(2, 2, 5, 5, seed=1).abs(), random(2, 2, 5, 5, seed=2).abs())
    found = through(module, box)
    middle, radius = (box.upper + box.lower) / 2, (box.upper - box.lower) / 2
    radius = nn.functional.conv2d(radius, module.weight.abs(), padding=1)
    torch.testing.assert_close(found.upper, module(middle) + radius)
    torch.testing.assert_close(found.lower, module(middle) - radius)


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("training", [False, True])
def test_a_box_that_is_the_same_for_all_images_may_be_carried_once(name, training):
    network, x = BACKBONES[name]().train(training), random(4, 2, 16, 16)
    width = torch.full_like(x[:1], 0.03)
    full, once = box_of(x, 0.03), Box(x, width, width)
    for block in network.blocks:
        full, once = through(block, full), through(block, once)
        for part in ("point", "above", "below"):
            torch.testing.assert_close(getattr(full, part), getattr(once, part))
        if not training:
            # An uneven box has its own way through the next block.
            assert bool((full.above != full.below).any())


def test_positive_weights_carry_the_upper_bound_as_an_image():
    module, x = nn.Conv2d(2, 3, 1).double(), random(1, 2, 4, 4)
    module.weight.data.abs_()
    torch.testing.assert_close(through(module, box_of(x, 0.2)).upper, module(x + 0.2))


class _Through(nn.Module):
    def __init__(self, block):
        super().__init__()
        self.block = block

    def forward(self, x, width):
        box = through(self.block, Box(x, width, width))
        return box.upper, box.lower


@pytest.mark.parametrize("shared", [False, True])
def test_first_and_second_derivatives_through_a_block_are_those_of_finite_differences(shared):
    block = shaken(nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.LeakyReLU(0.1))).train()
    x, width = random(3, 1, 4, 4), 0.1 + random(1 if shared else 3, 1, 4, 4, seed=1).abs()

    def bounds(x, width, weight):
        return torch.func.functional_call(_Through(block), {"block.0.weight": weight}, (x, width))

    given = tuple(part.requires_grad_() for part in (x, width, block[0].weight.detach().clone()))
    assert torch.autograd.gradcheck(bounds, given)
    assert torch.autograd.gradgradcheck(bounds, given)


def test_dropped_values_are_dropped_in_all_three():
    box = box_of(1 + torch.rand(5, 4, 6, 6).double(), 0.1)
    for module in (nn.Dropout(0.5), ResNet12(image_size=16).blocks[2].last[2]):
        found = through(module.train(), box)
        gone = found.point == 0
        assert torch.equal(gone, found.above == 0)
        assert torch.equal(gone, found.below == 0)
        torch.testing.assert_close(found.above[~gone] / found.point[~gone], box.above[~gone] / box.point[~gone])
        assert through(module.eval(), box) is box


def test_a_sum_of_boxes_holds_all_sums_and_no_more():
    a, b = box_of(random(3, 2), 0.2), box_of(random(3, 2, seed=1), 0.1)
    both = a + b
    torch.testing.assert_close(both.upper, a.upper + b.upper)
    torch.testing.assert_close(both.lower, a.lower + b.lower)


def test_a_module_that_is_not_known_is_refused():
    with pytest.raises(FewshotError, match="bounds cannot be carried through Tanh"):
        through(nn.Tanh(), box_of(random(1, 2), 0.1))
