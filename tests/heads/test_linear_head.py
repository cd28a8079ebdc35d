"""Where the linear layer of a task starts, against the formulas."""

import pytest
import torch

from fewshot.episodes.episodes import Episodes
from fewshot.episodes.prototypes import prototypes
from fewshot.heads.linear import LinearHead


def features() -> Episodes:
    generator = torch.Generator().manual_seed(0)
    labels = [torch.arange(3).repeat_interleave(n).expand(2, -1).contiguous() for n in (2, 4)]
    items = [torch.randn(2, 3 * n, 5, generator=generator) for n in (2, 4)]
    return Episodes(items[0], labels[0], items[1], labels[1], torch.arange(3).expand(2, -1))


@pytest.mark.parametrize("m", [0.3, 1.0, 2.0])
def test_rows_of_prototypes_score_by_the_distance_to_prototypes_times_the_multiplier(m):
    episodes = features()
    centres = m * prototypes(episodes.support, episodes.support_labels, 3)
    logits = LinearHead(5, start="prototypes", multiplier=m)(episodes)
    # -|x - m p|^2 and the logits differ by |x|^2, the same for all classes.
    expected = episodes.query.square().sum(-1, keepdim=True) - torch.cdist(episodes.query, centres).square()
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("start", ["weights", "shared"])
def test_zero_starts_without_an_opinion(start):
    episodes = features()
    assert (LinearHead(5, 3, start, zero=True)(episodes) == 0).all()
    assert LinearHead(5, 3, start)(episodes).abs().max() > 0


def test_a_shared_row_says_the_same_of_all_classes():
    logits = LinearHead(5, 3, "shared")(features())
    torch.testing.assert_close(logits, logits[..., :1].expand_as(logits))
