import pytest
import torch
from pytorch_metric_learning.distances import SNRDistance

from fewshot.distances.euclidean import squared_euclidean
from fewshot.distances.mahalanobis import Mahalanobis
from fewshot.distances.snr import snr_distance
from fewshot.errors import FewshotError
from fewshot.heads.prototype import PrototypeHead


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_snr_is_that_of_the_library():
    x, y = random(5, 9), random(4, 9, seed=1)
    # There the anchor is the row.
    expected = SNRDistance(normalize_embeddings=False)(y, x).T
    torch.testing.assert_close(snr_distance(x, y), expected, rtol=1e-6, atol=1e-6)


def test_snr_does_not_see_common_scale_nor_offsets():
    x, y = random(2, 5, 9), random(2, 4, 9, seed=1)
    plain = snr_distance(x, y)
    torch.testing.assert_close(snr_distance(7 * x, 7 * y), plain)
    torch.testing.assert_close(snr_distance(x + 3, y - 2), plain)
    torch.testing.assert_close(snr_distance(x, x).diagonal(dim1=1, dim2=2), torch.zeros(2, 5, dtype=torch.float64), atol=1e-12, rtol=0)  # fmt: skip


def test_snr_of_centred_unit_vectors_is_the_squared_euclidean_distance():
    x, y = (
        torch.nn.functional.normalize(v - v.mean(-1, keepdim=True), dim=-1)
        for v in (random(5, 9), random(4, 9, seed=1))
    )
    torch.testing.assert_close(snr_distance(x, y), squared_euclidean(x, y), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("rank", [0, 3])
def test_mahalanobis_is_the_quadratic_form_of_a_positive_matrix(rank):
    metric = Mahalanobis(9, rank).double()
    torch.nn.init.normal_(metric.log_weights)
    matrix = metric.log_weights.exp().diag()
    if rank:
        torch.nn.init.normal_(metric.map)
        matrix = matrix + metric.map.T @ metric.map
    assert torch.linalg.eigvalsh(matrix).min() > 0
    x, y = random(2, 5, 9), random(2, 4, 9, seed=1)
    gap = x[:, :, None] - y[:, None]
    torch.testing.assert_close(metric(x, y), torch.einsum("bqnd,de,bqne->bqn", gap, matrix, gap))


def test_mahalanobis_starts_as_the_squared_euclidean_distance_and_is_trained():
    x, y = random(2, 5, 9), random(2, 4, 9, seed=1)
    torch.testing.assert_close(Mahalanobis(9).double()(x, y), squared_euclidean(x, y))
    metric = Mahalanobis(9, 3).double()
    torch.testing.assert_close(metric(x, y), squared_euclidean(x, y), rtol=1e-3, atol=1e-3)
    metric(x, y).sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in metric.parameters())


def test_what_makes_no_distance_is_refused():
    for options in ({"rank": -1, "feature_size": 4}, {}):
        with pytest.raises(FewshotError, match=r"head\."):
            PrototypeHead("mahalanobis", **options)
