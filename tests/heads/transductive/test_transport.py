"""Transport against plain scaling, and the marginals it promises."""

import itertools

import pytest
import torch

from fewshot.heads.transductive.transport import transport

from .conftest import plain_sinkhorn, random

EXACT = 1e-12


def test_it_is_that_of_plain_scaling():
    cost = random(3, 12, 4).square()
    expected = torch.stack([plain_sinkhorn(part, 5.0) for part in cost])
    torch.testing.assert_close(transport(cost, 5.0, tolerance=EXACT)[0], expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sharpness", [0.1, 10.0, 300.0, 1e5])
def test_rows_sum_to_one_and_columns_to_their_share_however_sharp(sharpness, dtype):
    cost = random(5, 30, 5).square().to(dtype)
    # One class is far from all: from even weights nothing would go there.
    cost[..., 0] += 3
    p, _ = transport(cost, sharpness)
    torch.testing.assert_close(p.sum(2), torch.ones(5, 30, dtype=dtype), rtol=0, atol=1e-6)
    torch.testing.assert_close(p.sum(1), torch.full((5, 5), 6.0, dtype=dtype), rtol=0, atol=2e-5)


def test_a_sharp_one_is_the_cheapest_assignment():
    cost = random(1, 4, 2)
    p, _ = transport(cost, 1e4)
    # Two queries for each of two classes.
    costs = {
        pair: sum(cost[0, i, 0 if i in pair else 1] for i in range(4)) for pair in itertools.combinations(range(4), 2)
    }
    best = min(costs, key=costs.get)
    expected = torch.tensor([[1.0, 0.0] if i in best else [0.0, 1.0] for i in range(4)], dtype=cost.dtype)
    torch.testing.assert_close(p[0], expected, rtol=0, atol=1e-4)


def test_no_balance_is_a_softmax_and_no_sharpness_is_indifferent():
    cost = random(2, 9, 3).square()
    torch.testing.assert_close(transport(cost, 4.0, balance=0.0)[0], (-4 * cost).softmax(-1))
    torch.testing.assert_close(transport(cost, 0.0)[0], torch.full_like(cost, 1 / 3))


def test_between_them_columns_are_drawn_to_their_share_by_degrees():
    cost = random(6, 40, 4).square()
    cost[..., 0] -= 0.5
    off = [(transport(cost, 5.0, balance=b)[0].sum(1) - 10).abs().mean() for b in (0.0, 1e-6, 0.3, 0.6, 0.9, 1.0)]
    assert all(a > b for a, b in itertools.pairwise(off)), off


def test_between_them_it_is_scaling_whose_columns_have_a_power():
    cost = random(6, 40, 4).square()
    kernel, v = (-5 * cost).exp(), 1.0
    for _ in range(2000):
        u = 1 / (kernel * v).sum(2, keepdim=True)
        v = (10 / (kernel * u).sum(1, keepdim=True)) ** 0.6
    expected = kernel * v / (kernel * v).sum(2, keepdim=True)
    torch.testing.assert_close(transport(cost, 5.0, balance=0.6, tolerance=EXACT)[0], expected, rtol=0, atol=1e-9)


def test_another_start_comes_to_the_same_transport_sooner():
    cost = random(4, 20, 4).square()
    plan, w = transport(cost, 5.0, tolerance=EXACT)
    near, _ = transport(cost, 5.0001, tolerance=EXACT, iterations=1, start=w)
    far, _ = transport(cost, 5.0001, tolerance=EXACT, iterations=1)
    assert (near - plan).abs().max() < 1e-4 < (far - plan).abs().max()


@pytest.mark.parametrize("balance", [1.0, 0.5])
def test_a_task_gets_the_same_beside_one_that_takes_longer(balance):
    easy, hard = random(1, 20, 4).square(), 300 * random(1, 20, 4, seed=1).square()
    together, _ = transport(torch.cat([easy, hard]), 1.0, balance)
    alone = torch.cat([transport(part, 1.0, balance)[0] for part in (easy, hard)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-12)


def test_what_is_no_number_ends():
    cost = random(2, 6, 3)
    cost[0, 0, 0] = torch.nan
    p, _ = transport(cost, 1.0)
    assert p[0].isnan().any()
    torch.testing.assert_close(p[1].sum(0), torch.full((3,), 2.0, dtype=cost.dtype), rtol=0, atol=1e-5)
