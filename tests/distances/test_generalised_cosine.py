"""The trained similarity that starts as the cosine."""

import pytest
import torch

from fewshot.distances.cosine import cosine_similarity
from fewshot.distances.generalised_cosine import FORMS, GeneralisedCosine
from fewshot.errors import FewshotError


def pairs(size=7, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(2, n, size, generator=generator, dtype=torch.float64) for n in (5, 3))


def similarity(form, moved=False, size=7) -> GeneralisedCosine:
    torch.manual_seed(3)
    made = GeneralisedCosine(size, form, rank=2, hidden=4).double()
    if moved:
        with torch.no_grad():
            for p in made.parameters():
                p.add_(torch.randn_like(p))
    return made


@pytest.mark.parametrize("form", FORMS)
def test_it_begins_as_the_cosine(form):
    x, y = pairs()
    torch.testing.assert_close(similarity(form)(x, y), cosine_similarity(x, y), rtol=0, atol=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_only_directions_count(form):
    x, y = pairs()
    made = similarity(form, moved=True)
    torch.testing.assert_close(made(3 * x, 0.2 * y), made(x, y), rtol=0, atol=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_each_pair_is_compared_by_itself(form):
    x, y = pairs()
    made = similarity(form, moved=True)
    torch.testing.assert_close(made(x[:, 2:3], y[:, 1:2]), made(x, y)[:, 2:3, 1:2], rtol=0, atol=1e-12)


def test_bilinear_is_the_form_of_a_matrix():
    x, y = pairs()
    made = similarity("bilinear", moved=True)
    matrix = torch.eye(7, dtype=torch.float64) + made.left @ made.right.T
    unit_x, unit_y = (v / v.norm(dim=-1, keepdim=True) for v in (x, y))
    expected = torch.einsum("bqd,de,bne->bqn", unit_x, matrix, unit_y)
    torch.testing.assert_close(made(x, y), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_a_step_from_the_start_leads_away_from_the_cosine(form):
    x, y = pairs()
    made = similarity(form)
    before = cosine_similarity(x, y)
    slopes = torch.autograd.grad(made(x, y)[:, :, 0].sum(), list(made.parameters()))
    assert any((slope != 0).any() for slope in slopes)
    with torch.no_grad():
        for p, slope in zip(made.parameters(), slopes, strict=True):
            p.add_(slope)
    # The first class's similarity grows by a step along its gradient.
    assert (made(x, y)[:, :, 0].sum() - before[:, :, 0].sum()) > 1e-3


@pytest.mark.parametrize(
    ("options", "words"),
    [({"form": "cubic"}, "head.metric='cubic'"), ({"rank": 0}, "head.rank=0"), ({"hidden": 0}, "head.hidden=0")],
)
def test_a_bad_option_is_one_line(options, words):
    with pytest.raises(FewshotError, match=words):
        GeneralisedCosine(4, **options)
