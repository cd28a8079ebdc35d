"""PT-MAP against a plain loop, and what its prior does."""

import pytest
import torch
from torch.nn.functional import normalize

from fewshot.errors import FewshotError
from fewshot.heads.transductive.pt_map import PTMAPHead

from .conftest import clustered, means, plain_sinkhorn, task_by_task


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
