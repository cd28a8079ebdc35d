"""Baseline's and Baseline++'s head against torch's layers and SGD, task by task."""

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from fewshot.errors import FewshotError
from fewshot.heads.finetune import FineTuneHead

from .conftest import episodes_of


def trained_plainly(support, labels, query, head, way):
    """One task in all dimensions: `torch.nn.Linear` (with weight normalisation for cosine) and a loop over batches."""
    generator = torch.Generator().manual_seed(head.seed)
    size = support.shape[1]
    weight = ((2 * torch.rand(way, size, generator=generator).T - 1) / size**0.5).T.double()
    bias = ((2 * torch.rand(way, size, generator=generator).T - 1) / size**0.5)[0].double()
    layer = torch.nn.Linear(size, way, bias=head.classifier == "linear").double()
    layer.weight.data = weight.clone()
    if head.classifier == "linear":
        layer.bias.data = bias.clone()

        def score(x):
            return layer(x)
    else:
        torch.nn.utils.parametrizations.weight_norm(layer)

        def score(x):
            return head.scale * layer(normalize(x, dim=-1))

    optimizer = torch.optim.SGD(layer.parameters(), **head.sgd)
    for _ in range(head.epochs):
        order = torch.randperm(len(support), generator=generator)
        for batch in order.split(head.batch_size):
            optimizer.zero_grad()
            cross_entropy(score(support[batch]), labels[batch]).backward()
            optimizer.step()
    return score(query).detach()


@pytest.mark.parametrize("classifier", ["linear", "cosine"])
@pytest.mark.parametrize("dimension", [6, 40])
def test_each_task_is_trained_as_if_it_were_alone(classifier, dimension):
    # Six dimensions are fewer than support and weights span, forty are more: both ways to compute.
    head = FineTuneHead(classifier, epochs=20, lr=0.1)
    episodes = episodes_of(shots=(3, 3, 3), dimension=dimension)
    expected = [
        trained_plainly(s, y, q, head, 3)
        for s, y, q in zip(episodes.support, episodes.support_labels, episodes.query, strict=True)
    ]
    torch.testing.assert_close(head(episodes), torch.stack(expected), rtol=0, atol=1e-8)


def test_a_separable_support_is_learned():
    episodes = episodes_of(shots=(5, 5, 5), dimension=50)
    on_support = type(episodes)(
        episodes.support, episodes.support_labels, episodes.support, episodes.support_labels, episodes.classes
    )
    for head in (FineTuneHead(lr=0.1, dampening=0.0), FineTuneHead("cosine", scale=10.0, lr=0.5, dampening=0.0)):
        assert torch.equal(head(on_support).argmax(-1), episodes.support_labels)


def test_without_epochs_it_guesses():
    episodes = episodes_of(shots=(1,) * 5, query=50, dimension=30, tasks=200)
    right = FineTuneHead(epochs=0)(episodes).argmax(-1) == episodes.query_labels
    assert abs(right.double().mean() - 0.2) < 0.02


def test_the_cosine_head_does_not_see_the_length_of_queries():
    episodes, head = episodes_of(dimension=12), FineTuneHead("cosine", epochs=5)
    longer = episodes.with_items(episodes.support, 7 * episodes.query)
    torch.testing.assert_close(head(longer), head(episodes))


def test_the_same_call_gives_the_same_scores_and_leaves_no_gradient_behind():
    episodes, head = episodes_of(dimension=12), FineTuneHead(epochs=5)
    episodes.support.requires_grad_()
    with torch.no_grad():
        first = head(episodes)
    torch.manual_seed(99)
    assert torch.equal(head(episodes), first)
    assert not first.requires_grad
    assert episodes.support.grad is None
    assert not torch.equal(FineTuneHead(epochs=5, seed=1)(episodes), first)
    assert not list(head.parameters())


def test_a_dampened_step_is_a_tenth_of_one_that_is_not():
    episodes = episodes_of(shots=(1, 1, 1), dimension=12)
    start = FineTuneHead(epochs=0)(episodes)
    one = {"epochs": 2, "momentum": 0.9, "weight_decay": 0.0, "batch_size": 3}
    # torch dampens from the second step on; rates are so small that gradients do not change.
    plain = FineTuneHead(dampening=0.0, lr=1e-6, **one)(episodes) - start
    dampened = FineTuneHead(dampening=0.9, lr=1e-6, **one)(episodes) - start
    # Two steps: 1 + (0.9 + 1) without, 1 + (0.9 + 0.1) with.
    torch.testing.assert_close(plain / dampened, torch.full_like(plain, 2.9 / 2.0), rtol=1e-3, atol=0)


@pytest.mark.parametrize(
    "options", [{"classifier": "svm"}, {"epochs": -1}, {"batch_size": 0}, {"seed": -1}, {"scale": 0.0}, {"lr": 0.0}]
)
def test_numbers_out_of_range_are_refused(options):
    (name,) = options
    with pytest.raises(FewshotError, match=f"head.{name}="):
        FineTuneHead(**options)
