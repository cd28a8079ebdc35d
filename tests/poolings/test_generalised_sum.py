"""Generalised sum pooling against the authors' iteration, and its limits."""

import pytest
import torch

from fewshot.errors import FewshotError
from fewshot.poolings.generalised_sum import GeneralisedSumPooling, transport_weights


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pooling(share=0.3, sharpness=5.0, channels=6, prototypes=4):
    torch.manual_seed(0)
    return GeneralisedSumPooling([(channels, 5, 5)], prototypes, share, sharpness).double()


def iterated(local, prototypes, share, sharpness, rounds=5000):
    """Weights of one image by the fixed-point iteration of the paper."""

    def short(v):
        return v / v.norm(dim=-1, keepdim=True).clamp_min(1)

    cost = torch.cdist(short(local), short(prototypes))
    s, n, t = (-sharpness * cost).exp().sum(1), len(local), share
    for _ in range(rounds):
        rho = (1 / n) / (1 + t * s)
        t = share / (rho * s).sum()
    return (1 - n * rho) / share


@pytest.mark.parametrize("share", [0.1, 0.3, 0.7])
@pytest.mark.parametrize("sharpness", [1.0, 5.0])
def test_weights_are_those_of_the_iteration(share, sharpness):
    module, local = pooling(share, sharpness), random(3, 25, 6)
    with torch.no_grad():
        expected = torch.stack([iterated(part, module.prototypes, share, sharpness) for part in local])
        torch.testing.assert_close(module.weights(local), expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.999])
@pytest.mark.parametrize("sharpness", [0.1, 5.0, 200.0])
def test_weights_have_mean_one_and_none_is_beyond_its_bounds(share, sharpness):
    weights = pooling(share, sharpness).weights(random(4, 25, 6))
    torch.testing.assert_close(weights.mean(1), torch.ones(4, dtype=torch.float64))
    assert weights.min() >= 0
    assert weights.max() <= 1 / share + 1e-9


def test_a_sharp_pooling_takes_the_positions_nearest_to_a_prototype():
    module, local = pooling(share=0.2, sharpness=20000.0), random(2, 25, 6)
    unit = local / local.norm(dim=-1, keepdim=True).clamp_min(1)
    nearest = torch.cdist(unit, module.prototypes).amin(-1)
    expected = torch.zeros(2, 25, dtype=torch.float64).scatter(1, nearest.argsort(1)[:, :5], 5.0)
    torch.testing.assert_close(module.weights(local), expected, rtol=0, atol=1e-3)


def test_a_share_of_one_is_the_plain_mean_and_the_limit_of_shares_near_it():
    maps = [random(2, 6, 5, 5)]
    torch.testing.assert_close(pooling(1.0)(maps), maps[0].mean(dim=(2, 3)))
    torch.testing.assert_close(pooling(0.9999)(maps), maps[0].mean(dim=(2, 3)), rtol=0, atol=1e-2)


def test_positions_may_be_permuted():
    module, maps = pooling(), random(2, 6, 5, 5)
    order = torch.randperm(25, generator=torch.Generator().manual_seed(1))
    moved = maps.flatten(2)[:, :, order].view_as(maps)
    torch.testing.assert_close(module([moved]), module([maps]))


def test_gradients_of_weights_and_features_are_exact():
    nearness = random(2, 7).requires_grad_()
    assert torch.autograd.gradcheck(lambda near: transport_weights(near, 0.3)[0], nearness)
    module, maps = pooling(), random(2, 6, 5, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda m: module([m]), maps)
    module([maps]).square().sum().backward()
    assert module.prototypes.grad.abs().sum() > 0


@pytest.mark.parametrize("case", ["zeros", "one position", "on a prototype", "huge"])
def test_degenerate_maps_stay_finite(case):
    module = pooling()
    maps = random(2, 6, 1, 1) if case == "one position" else random(2, 6, 5, 5)
    if case == "zeros":
        maps = torch.zeros_like(maps)
    if case == "on a prototype":
        maps[:] = module.prototypes.detach()[0].view(1, 6, 1, 1)
    if case == "huge":
        maps = 1e6 * maps
    maps.requires_grad_()
    out = module([maps])
    out.sum().backward()
    assert out.isfinite().all()
    assert maps.grad.isfinite().all()
    assert module.prototypes.grad.isfinite().all()
    if case == "one position":
        torch.testing.assert_close(out, maps[:, :, 0, 0])


@pytest.mark.parametrize("options", [{"prototypes": 0}, {"share": 0.0}, {"share": 1.1}, {"sharpness": 0.0}])
def test_numbers_out_of_range_are_refused(options):
    (name,) = options
    with pytest.raises(FewshotError, match=f"pooling.{name}="):
        GeneralisedSumPooling([(4, 5, 5)], **options)
