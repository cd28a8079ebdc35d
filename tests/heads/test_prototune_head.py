"""ProtoTune against the prototypes it starts from, and against torch's linear layer and Adam, task by task."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from fewshot.errors import FewshotError
from fewshot.heads.prototune import ProtoTuneHead
from fewshot.heads.prototype import PrototypeHead

from .conftest import episodes_of


def head(**options):
    return ProtoTuneHead(**options).eval()


@pytest.mark.parametrize("shots", [(1, 1, 1), (5, 5, 5), (1, 4, 2)])
def test_without_steps_it_is_the_prototypes(shots):
    episodes = episodes_of(shots, dimension=12)
    expected = PrototypeHead()(episodes).softmax(-1)
    torch.testing.assert_close(head(epochs=0)(episodes).softmax(-1), expected, rtol=0, atol=1e-12)


def test_in_training_it_is_the_prototypes_and_the_backbone_learns_by_them():
    episodes = episodes_of(dimension=12)
    support, query = (part.clone().requires_grad_() for part in (episodes.support, episodes.query))
    found = ProtoTuneHead().train()(episodes.with_items(support, query))
    expected = PrototypeHead()(episodes.with_items(support, query))
    assert torch.equal(found, expected)
    weights = torch.randn_like(found)
    gradients = torch.autograd.grad((weights * found).sum(), (support, query))
    for mine, theirs in zip(gradients, torch.autograd.grad((weights * expected).sum(), (support, query)), strict=True):
        torch.testing.assert_close(mine, theirs)


def tuned_plainly(support, labels, query, way, tuned):
    """One task as the paper has it: a linear layer set to the prototypes, and a loop over shuffled batches."""
    layer = torch.nn.Linear(support.shape[1], way).double()
    centres = torch.stack([support[labels == k].mean(0) for k in range(way)])
    layer.weight.data, layer.bias.data = 2 * centres, -(centres**2).sum(1)
    optimizer = torch.optim.Adam(layer.parameters(), lr=tuned.lr)
    generator = torch.Generator().manual_seed(tuned.seed)
    for _ in range(tuned.epochs):
        order = torch.randperm(len(support), generator=generator)
        for start in range(0, len(support), way):
            batch = order[start : start + way]
            optimizer.zero_grad()
            cross_entropy(layer(support[batch]), labels[batch]).backward()
            optimizer.step()
    return layer(query).detach()


@pytest.mark.parametrize("shots", [(1, 1, 1), (3, 3, 3), (1, 4, 2)])
def test_each_task_is_tuned_as_if_it_were_alone(shots):
    tuned, episodes = head(lr=0.05), episodes_of(shots, dimension=12)
    expected = [
        tuned_plainly(s, y, q, 3, tuned)
        for s, y, q in zip(episodes.support, episodes.support_labels, episodes.query, strict=True)
    ]
    torch.testing.assert_close(tuned(episodes), torch.stack(expected), rtol=0, atol=1e-9)


def test_steps_of_adam_are_no_longer_than_its_rate():
    # At 1 shot there is a step an epoch: after 15 of 0.001 no weight is further than 0.015 or so from the prototype.
    episodes = episodes_of((1,) * 5, query=40, dimension=40)
    # Queries along the axes show the weights, each with the bias.
    asked = episodes.with_items(0.1 * episodes.support, torch.eye(40, dtype=torch.float64).expand(4, -1, -1))
    moved = (head()(asked) - head(epochs=0)(asked)).abs()
    assert 0.001 < moved.max() < 2 * 0.016


def test_tuning_lowers_the_loss_of_the_support():
    # Two shots that lie apart: the prototypes alone leave a loss.
    episodes = episodes_of((2,) * 5, dimension=8)
    on_support = type(episodes)(
        episodes.support, episodes.support_labels, episodes.support, episodes.support_labels, episodes.classes
    )
    losses = [
        cross_entropy(head(epochs=n, lr=0.01)(on_support).flatten(0, 1), on_support.query_labels.flatten())
        for n in (0, 5, 50)
    ]
    assert losses[0] > losses[1] > losses[2]


def test_the_same_call_gives_the_same_scores_and_leaves_no_gradient_behind():
    episodes, tuned = episodes_of((3, 3, 3), dimension=12), head(lr=0.1)
    episodes.support.requires_grad_()
    with torch.no_grad():
        first = tuned(episodes)
    torch.manual_seed(99)
    assert torch.equal(tuned(episodes), first)
    assert episodes.support.grad is None
    assert not first.requires_grad
    assert not torch.equal(head(lr=0.1, seed=1)(episodes), first)
    assert not list(tuned.parameters())


@pytest.mark.parametrize("options", [{"epochs": -1}, {"batch_size": 0}, {"seed": -1}, {"lr": 0.0}])
def test_numbers_out_of_range_are_refused(options):
    (name,) = options
    with pytest.raises(FewshotError, match=f"head.{name}="):
        ProtoTuneHead(**options)
