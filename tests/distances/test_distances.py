import torch

from fewshot.distances.cosine import cosine_similarity
from fewshot.distances.euclidean import squared_euclidean


def random(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_squared_euclidean_is_the_square_of_cdist():
    x, y = random(3, 7, 11), random(3, 5, 11, seed=1)
    torch.testing.assert_close(squared_euclidean(x, y), torch.cdist(x, y).square())


def test_squared_euclidean_far_from_the_origin_stays_exact():
    x, y = random(2, 7, 16, dtype=torch.float32), random(2, 5, 16, seed=1, dtype=torch.float32)
    plain = (x.double()[:, :, None] - y.double()[:, None]).square().sum(-1)
    far = squared_euclidean(x + 100, y + 100)
    torch.testing.assert_close(far.double(), plain, rtol=1e-3, atol=1e-3)


def test_squared_euclidean_of_equal_points_is_zero_with_a_finite_gradient():
    x = torch.ones(1, 2, 4, requires_grad=True)
    distance = squared_euclidean(x, x.detach())
    distance.sum().backward()
    assert distance.abs().max() < 1e-6
    assert torch.isfinite(x.grad).all()


def test_squared_euclidean_works_without_and_with_more_batch_dimensions():
    x, y = random(7, 11), random(5, 11, seed=1)
    one = squared_euclidean(x, y)
    torch.testing.assert_close(squared_euclidean(x.expand(2, 3, 7, 11), y.expand(2, 3, 5, 11))[1, 2], one)


def test_cosine_is_the_library_one_and_ignores_scale():
    x, y = random(3, 7, 11), random(3, 5, 11, seed=1)
    expected = torch.nn.functional.cosine_similarity(x[:, :, None], y[:, None], dim=-1)
    torch.testing.assert_close(cosine_similarity(x, y), expected)
    scale = random(3, 7, 1, seed=2).abs() + 0.1
    torch.testing.assert_close(cosine_similarity(scale * x, y), expected)


def test_cosine_of_a_zero_vector_is_zero():
    assert torch.equal(cosine_similarity(torch.zeros(1, 1, 3), torch.ones(1, 2, 3)), torch.zeros(1, 1, 2))
