"""IBI: no box is the plain learner, its weights and their gradients, the ramp, and tasks in between."""

import copy
import math
from unittest.mock import patch

import pytest
import torch

from fewshot.backbones.resnet12 import WIDTHS, ResNet12
from fewshot.backbones.resnet18 import ResNet18
from fewshot.errors import FewshotError
from fewshot.task_augmentation.augmentation import fresh_rng
from fewshot.task_augmentation.interval_bounds import IntervalBounds

from .conftest import conv4, gradients, learner_of, tasks

STILL = {"ramp": 0.0}


def resnet():
    with patch.dict(WIDTHS, tiny=(4, 6, 8, 10)):
        return ResNet12(channels=1, widths="tiny", image_size=16, drop_rate=0.0).double()


@pytest.mark.parametrize("backbone", [conv4, resnet])
@pytest.mark.parametrize("blocks", [1, 3])
@pytest.mark.parametrize("beta", [None, (0.5, 0.5)])
def test_without_a_box_it_is_the_plain_learner_to_the_bit(backbone, blocks, beta):
    torch.manual_seed(0)
    network, episodes = backbone(), tasks()
    plain = gradients(learner_of(backbone=copy.deepcopy(network)), episodes)
    ibi = IntervalBounds(eps=0.0, blocks=blocks, beta=beta, weighting="fixed", **STILL)
    found = gradients(learner_of(ibi, copy.deepcopy(network)), episodes)
    assert torch.equal(plain[0].total, found[0].total)
    assert torch.equal(plain[0].accuracy, found[0].accuracy)
    for name, value in plain[1].items():
        # Two halves of a gradient add up to it but for rounding.
        torch.testing.assert_close(found[1][name], value, rtol=1e-10, atol=1e-12)
    for name, value in plain[2].items():
        if "num_batches" not in name and name != "base_mean":
            assert torch.equal(found[2][name], value), name


def test_without_a_box_the_softmax_scales_the_loss_as_its_closed_form_says():
    episodes = tasks()
    plain = gradients(learner_of(), episodes)
    found = gradients(learner_of(IntervalBounds(eps=0.0, temperature=0.8, **STILL)), episodes)
    loss = float(plain[0].total.detach())
    share = math.exp(loss / 0.8) / (math.exp(loss / 0.8) + 2)
    assert float(found[0].total.detach()) == pytest.approx(share * loss, rel=1e-10)
    assert float(found[0].parts["weight_of_task"]) == pytest.approx(share, rel=1e-10)
    # The weights are numbers: the direction is that of the plain gradient.
    for name, value in plain[1].items():
        torch.testing.assert_close(found[1][name], share * value, rtol=1e-8, atol=1e-12)


def test_softmax_of_losses_and_its_gradient():
    losses = torch.tensor([1.6, 0.3, 0.1], dtype=torch.float64, requires_grad=True)

    def slopes(**options):
        total, parts = IntervalBounds(**options, **STILL)._total(losses[0], losses[1:])
        return total, torch.autograd.grad(total, losses)[0], parts

    total, gradient, _ = slopes(detach=False)
    w = (losses.detach()).softmax(0)
    assert gradient.tolist() == pytest.approx([0.977, 0.029, -0.006], abs=1e-3)
    closed = w * (1 + losses.detach() - total.detach())
    torch.testing.assert_close(gradient, closed)
    torch.testing.assert_close(slopes(detach=True)[1], w)
    even, sharp = slopes(temperature=1e9), slopes(temperature=1e-3)
    assert float(even[0].detach()) == pytest.approx(2 / 3)
    assert float(sharp[0].detach()) == pytest.approx(1.6)
    assert float(slopes(weighting="fixed", weight=0.5)[0].detach()) == pytest.approx(1.8)


def plain_bounds(backbone, images, eps, blocks):
    """The published recipe with three tensors, for Conv-4 in training."""
    u, o, lower = images + eps, images, images - eps
    for conv, norm, pool, _ in backbone.blocks[:blocks]:
        m, r = (u + lower) / 2, (u - lower) / 2
        m, r = conv(m), torch.nn.functional.conv2d(r, conv.weight.abs(), padding=1)
        o = conv(o)
        mean, var = o.mean((0, 2, 3), keepdim=True), o.var((0, 2, 3), keepdim=True, correction=0)
        s = norm.weight[:, None, None] / (var + norm.eps).sqrt()
        t = norm.bias[:, None, None] - s * mean
        m, r, o = s * m + t, s.abs() * r, s * o + t
        u, o, lower = (torch.relu(pool(x)) for x in (m + r, o, m - r))
    return u, o, lower


@pytest.mark.parametrize("blocks", [1, 2])
def test_losses_and_gradients_are_those_of_the_published_recipe(blocks):
    episodes, std = tasks(), (0.5,)
    ibi = IntervalBounds(eps=0.04, blocks=blocks, weighting="fixed", weight=0.01, std=std, **STILL)
    learner, reference = learner_of(ibi), learner_of()
    found = gradients(learner, episodes, seed=2)
    torch.manual_seed(2)
    rng = fresh_rng()
    beta, upper, task = rng.beta(0.5, 0.5, size=4), rng.random(4) < 0.5, rng.integers(3)
    images = torch.cat([episodes.support.flatten(0, 1), episodes.query.flatten(0, 1)])
    u, o, lower = plain_bounds(reference.backbone, images, 0.04 / 0.5, blocks)
    moved = []
    owner = torch.cat([torch.arange(3).repeat_interleave(8), torch.arange(3).repeat_interleave(12)])
    labels = torch.cat([episodes.support_labels.flatten(), episodes.query_labels.flatten()])
    for i in range(len(o)):
        c = int(labels[i])
        share = float(beta[c]) if int(owner[i]) == task else 0.0
        moved.append((1 - share) * o[i] + share * (u[i] if upper[c] else lower[i]))
    losses = []
    for maps in (o, torch.stack(moved)):
        z = reference.backbone.forward_from(blocks, maps)
        features = episodes.with_items(z[:24].unflatten(0, (3, 8)), z[24:].unflatten(0, (3, 12)))
        losses.append(reference.loss_of_features(features).total)
    bounds = (u - o).square().mean(), (lower - o).square().mean()
    total = (losses[0] + losses[1]) / 2 + 0.01 * sum(bounds)
    total.backward()
    torch.testing.assert_close(found[0].total.detach(), total.detach())
    assert float(found[0].parts["upper_bound"]) == pytest.approx(float(bounds[0].detach()))
    assert float(found[0].parts["lower_bound"]) == pytest.approx(float(bounds[1].detach()))
    assert losses[0] != losses[1]
    for name, p in reference.named_parameters():
        torch.testing.assert_close(found[1][name], p.grad, rtol=1e-7, atol=1e-9)


def test_eps_rises_in_a_straight_line_and_the_count_lies_with_the_weights():
    ibi = IntervalBounds(eps=0.1, ramp=0.5, training_episodes=24)
    learner = learner_of(ibi)
    reaches = []
    for _ in range(6):
        reaches.append(ibi.reach)
        learner.training_loss(tasks())
    assert reaches == pytest.approx([0, 0.025, 0.05, 0.075, 0.1, 0.1])
    again = learner_of(IntervalBounds(eps=0.1, ramp=0.5, training_episodes=24))
    again.load_state_dict(learner.state_dict())
    assert int(again.task_augmentation.episodes_trained) == 18


def test_wider_boxes_have_larger_losses():
    found = [
        learner_of(IntervalBounds(eps=eps, blocks=2, **STILL)).training_loss(tasks()).parts for eps in (0.01, 0.05, 0.1)
    ]
    for part in ("upper_bound", "lower_bound"):
        values = [float(parts[part]) for parts in found]
        assert 0 < values[0] < values[1] < values[2]


def test_tests_see_no_bounds_and_the_statistics_of_tests_are_those_of_plain_images():
    episodes = tasks()
    plain, bounded = learner_of(), learner_of(IntervalBounds(eps=0.3, blocks=2, **STILL))
    for learner in (plain, bounded):
        learner.training_loss(episodes)
        learner.eval()
    torch.testing.assert_close(plain.predict(episodes), bounded.predict(episodes))
    assert all(norm.momentum == 0.1 for norm in bounded.modules() if hasattr(norm, "momentum"))


def test_what_it_cannot_do_is_refused():
    for options, message in (
        ({"eps": -0.1}, "eps=-0.1"),
        ({"blocks": 0}, "blocks=0"),
        ({"weighting": "mean"}, "weighting=mean; expected one of softmax, fixed"),
        ({"temperature": 0.0}, "temperature=0.0"),
        ({"ramp": 0.9}, "needs training_episodes"),
    ):
        with pytest.raises(FewshotError, match=message):
            IntervalBounds(**{**STILL, **options})
    with pytest.raises(FewshotError, match="no level 5 in Conv4"):
        learner_of(IntervalBounds(blocks=5, **STILL))
    with pytest.raises(FewshotError, match="bounds cannot be carried through BasicBlock"):
        learner_of(IntervalBounds(blocks=2, **STILL), ResNet18(channels=1))
