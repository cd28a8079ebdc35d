"""PT-MAP and its transport against plain loops, and the marginals it promises."""

import itertools

import pytest
import torch
from torch.nn.functional import normalize

from fewshot.errors import FewshotError
from fewshot.heads.transductive.pt_map import PTMAPHead, sinkhorn

from .conftest import clustered, means, random, task_by_task


def plain_sinkhorn(cost, sharpness, rounds=20000):
    p = (-sharpness * cost).exp()
    for _ in range(rounds):
        p = p * (len(cost) / cost.shape[1]) / p.sum(0, keepdim=True)
        p = p / p.sum(1, keepdim=True)
    return p


def test_transport_is_that_of_plain_scaling():
    cost = random(3, 12, 4).square()
    expected = torch.stack([plain_sinkhorn(part, 5.0) for part in cost])
    torch.testing.assert_close(sinkhorn(cost, 5.0, tolerance=1e-14, iterations=20000)[0], expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sharpness", [0.1, 10.0, 300.0])
def test_rows_sum_to_one_and_columns_to_their_share(sharpness, dtype):
    cost = random(5, 30, 5).square().to(dtype)
    p, _ = sinkhorn(cost, sharpness, iterations=20000)
    torch.testing.assert_close(p.sum(2), torch.ones(5, 30, dtype=dtype), rtol=0, atol=1e-6)
    torch.testing.assert_close(p.sum(1), torch.full((5, 5), 6.0, dtype=dtype), rtol=0, atol=1e-3)


def test_no_balance_is_a_softmax_and_no_sharpness_is_indifferent():
    cost = random(2, 9, 3).square()
    torch.testing.assert_close(sinkhorn(cost, 4.0, balance=0.0)[0], (-4 * cost).softmax(-1))
    torch.testing.assert_close(sinkhorn(cost, 0.0)[0], torch.full_like(cost, 1 / 3))


def test_between_them_columns_are_drawn_to_their_share_by_degrees():
    cost = random(6, 40, 4).square()
    cost[..., 0] -= 0.5
    off = [(sinkhorn(cost, 5.0, balance=b)[0].sum(1) - 10).abs().mean() for b in (0.0, 0.3, 0.6, 0.9, 1.0)]
    assert all(a > b for a, b in itertools.pairwise(off)), off
    # The optimality of unbalanced transport: v = (share / what the rows bring)^balance.
    p, _ = sinkhorn(cost, 5.0, balance=0.6, tolerance=1e-13)
    u_kernel = p / (10 / p.sum(1, keepdim=True)) ** (0.6 / (1 - 0.6))
    ratio = u_kernel / (-5 * cost).exp()
    torch.testing.assert_close(ratio, ratio[..., :1].expand_as(ratio), rtol=1e-6, atol=1e-6)


def test_another_start_comes_to_the_same_transport_sooner():
    cost = random(4, 20, 4).square()
    plan, v = sinkhorn(cost, 5.0, tolerance=1e-12, iterations=20000)
    near, _ = sinkhorn(cost + 0.01, 5.0, tolerance=1e-12, iterations=10, start=v)
    torch.testing.assert_close(near, plan, rtol=0, atol=1e-9)


def plain_pt_map(head):
    def score(support, labels, query):
        def prepared(items):
            items = normalize(items, dim=1)
            return normalize(items - items.mean(0), dim=1)

        support, query = prepared(support), prepared(query)
        y = torch.nn.functional.one_hot(labels, 3).double()
        mu = means(support, labels, 3)

        def transport():
            return plain_sinkhorn((query[:, None] - mu).square().sum(-1), head.sharpness, 3000)

        for _ in range(head.steps):
            p = transport()
            m = (y.T @ support + p.T @ query) / (y.sum(0) + p.sum(0))[:, None]
            mu = mu + head.rate * (m - mu)
        return transport().log()

    return score


@pytest.mark.parametrize("dimension", [5, 40])
def test_it_is_the_plain_algorithm(dimension):
    # Forty dimensions are more than the items span: the head goes to fewer.
    tasks, head = clustered(shots=(2, 1, 3), counts=(4, 4, 4), dimension=dimension), PTMAPHead(steps=6)
    # The plain scaling goes on for longer than the head's, which stops at a change of a millionth.
    torch.testing.assert_close(head(tasks).exp(), task_by_task(tasks, plain_pt_map(head)).exp(), rtol=0, atol=1e-3)


def test_its_prior_helps_even_queries_and_harms_uneven_ones():
    def accuracy(balance, counts):
        tasks = clustered(60, (1, 1, 1), counts, spread=0.9, dimension=16)
        return (PTMAPHead(balance=balance)(tasks).argmax(-1) == tasks.query_labels).double().mean()

    assert accuracy(1.0, (12, 12, 12)) > accuracy(0.0, (12, 12, 12))
    assert accuracy(1.0, (30, 3, 3)) < accuracy(0.0, (30, 3, 3))


@pytest.mark.parametrize("options", [{"sharpness": 0.0}, {"rate": 1.5}, {"balance": -0.1}, {"steps": -1}])
def test_numbers_out_of_range_are_refused(options):
    (name,) = options
    with pytest.raises(FewshotError, match=rf"head\.{name}="):
        PTMAPHead(**options)
