import math

import torch

from fewshot.episodes.episodes import Episodes
from fewshot.losses.cross_entropy import CrossEntropy


def episodes_of(labels):
    tasks, queries = labels.shape
    zeros = torch.zeros(tasks, queries, 1)
    return Episodes(zeros, labels, zeros, labels, torch.arange(3).expand(tasks, -1))


def test_it_is_the_mean_negative_log_probability():
    labels = torch.tensor([[0, 2], [1, 1]])
    logits = torch.randn(2, 2, 3, generator=torch.Generator().manual_seed(0))
    probabilities = torch.softmax(logits, -1)
    expected = -sum(probabilities[b, q, labels[b, q]].log() for b in range(2) for q in range(2)) / 4
    value = CrossEntropy()(episodes_of(labels), logits)
    torch.testing.assert_close(value.total, expected)
    assert set(value.parts) == {"cross_entropy"}


def test_equal_logits_cost_log_way_and_log_probabilities_stay_as_they_are():
    labels = torch.tensor([[0, 2]])
    torch.testing.assert_close(
        CrossEntropy()(episodes_of(labels), torch.zeros(1, 2, 3)).total, torch.tensor(math.log(3))
    )
    logits = torch.randn(1, 2, 3)
    loss = CrossEntropy()
    torch.testing.assert_close(
        loss(episodes_of(labels), torch.log_softmax(logits, -1)).total, loss(episodes_of(labels), logits).total
    )
