"""Fewer dimensions, in which distances stay what they were."""

import pytest
import torch

from fewshot.heads.span import span_basis, span_coordinates


def items_of(dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 3, 40, generator=generator, dtype=dtype), torch.randn(
        2, 6, 40, generator=generator, dtype=dtype
    )


@pytest.mark.parametrize(("dtype", "exact"), [(torch.float32, 1e-3), (torch.float64, 1e-8)])
def test_products_stay_what_they_were(dtype, exact):
    support, query = items_of(dtype)
    few_support, few_query = span_coordinates(support, query)
    assert few_support.shape == (2, 3, 9)
    assert few_query.shape == (2, 6, 9)
    assert few_query.dtype == dtype
    torch.testing.assert_close(
        few_query @ few_support.transpose(1, 2), query @ support.transpose(1, 2), rtol=0, atol=exact
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_items_that_are_alike_or_nothing_do_no_harm(dtype):
    support, query = items_of(dtype)
    query[0, 1] = query[0, 0]
    query[0, 2] = support[0, 0] + 2 * support[0, 1]
    support[1], query[1] = 0, 0
    few_support, few_query = span_coordinates(support, query)
    assert few_query.isfinite().all()
    assert (few_query[0, 1] - few_query[0, 0]).norm() < 1e-4
    torch.testing.assert_close(few_query[0, 2], few_support[0, 0] + 2 * few_support[0, 1], rtol=0, atol=1e-4)
    torch.testing.assert_close(few_query[1], torch.zeros_like(few_query[1]))


def test_where_items_are_many_they_stay_as_they_are():
    items = torch.randn(2, 9, 5)
    support, query = span_coordinates(items[:, :4], items[:, 4:])
    assert torch.equal(torch.cat([support, query], dim=1), items)
    assert span_basis(items) is None


def test_a_basis_has_what_the_coordinates_have():
    support, query = items_of()
    items = torch.cat([support, query], dim=1)
    by_basis = items @ span_basis(items)
    few = torch.cat(span_coordinates(support, query), dim=1)
    torch.testing.assert_close(few @ few.transpose(1, 2), by_basis @ by_basis.transpose(1, 2))
