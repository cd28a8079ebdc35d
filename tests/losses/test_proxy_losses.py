"""Proxy losses against their formulas on all items of all tasks."""

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize, softplus

from fewshot.episodes.episodes import Episodes
from fewshot.errors import FewshotError
from fewshot.losses.proxies import KINDS, ProxyLoss

from .conftest import episodes_of, no_logits, random

CLASSES = torch.tensor([[4, 0, 2], [1, 4, 6], [3, 5, 0]])


def tasks():
    found = episodes_of()
    return Episodes(found.support, found.support_labels, found.query, found.query_labels, CLASSES)


def everything(episodes):
    items = torch.cat([episodes.support, episodes.query], 1).flatten(0, 1)
    labels = torch.cat([episodes.support_labels, episodes.query_labels], 1)
    return items, torch.stack([CLASSES[b][labels[b]] for b in range(3)]).flatten()


def loss_with(kind, **options):
    loss = ProxyLoss(kind, feature_size=6, classes=7, **options).double()
    for p in loss.parameters():
        p.data = random(*p.shape, seed=9)
    return loss, next(loss.parameters()).detach()


def test_normalised_softmax_is_cross_entropy_of_cosines_to_all_base_classes():
    loss, weights = loss_with("normalised_softmax", temperature=0.1)
    z, y = everything(tasks())
    expected = cross_entropy(normalize(z, dim=1) @ normalize(weights, dim=0) / 0.1, y)
    torch.testing.assert_close(loss(tasks(), no_logits(tasks())).total, expected)


def test_proxy_nca_is_cross_entropy_of_squared_distances_to_the_proxies():
    loss, proxies = loss_with("proxy_nca")
    z, y = everything(tasks())
    logits = -torch.cdist(normalize(z, dim=1), normalize(proxies, dim=1)).square()
    torch.testing.assert_close(loss(tasks(), no_logits(tasks())).total, cross_entropy(logits, y))


def test_proxy_anchor_is_its_formula():
    loss, proxies = loss_with("proxy_anchor", margin=0.1, alpha=32.0)
    z, y = everything(tasks())
    s = normalize(z, dim=1) @ normalize(proxies, dim=1).T
    own = torch.nn.functional.one_hot(y, 7).bool()
    present = own.any(0)
    near = torch.log1p((torch.exp(-32 * (s - 0.1)) * own).sum(0))[present].sum() / present.sum()
    far = torch.log1p((torch.exp(32 * (s + 0.1)) * ~own).sum(0)).sum() / 7
    torch.testing.assert_close(loss(tasks(), no_logits(tasks())).total, near + far)


@pytest.mark.parametrize("kind", KINDS)
def test_proxies_are_trained_with_finite_gradients(kind):
    loss, _ = loss_with(kind)
    episodes = tasks()
    flat = episodes.with_items(
        torch.zeros_like(episodes.support).requires_grad_(), torch.ones_like(episodes.query).requires_grad_()
    )
    value = loss(flat, no_logits(flat))
    value.total.backward()
    gradients = [p.grad for p in (*loss.parameters(), flat.support, flat.query)]
    assert all(g is not None and g.isfinite().all() for g in gradients)
    assert any(g.abs().sum() > 0 for g in gradients)
    assert list(value.parts) == [kind]
    assert softplus(value.total).isfinite()


def test_what_is_missing_or_unknown_is_named():
    with pytest.raises(FewshotError, match=r"loss\.kind=proxies"):
        ProxyLoss("proxies", feature_size=6, classes=7)
    with pytest.raises(FewshotError, match="needs feature_size and classes"):
        ProxyLoss()
    with pytest.raises(FewshotError, match="proxy_nca refuses"):
        ProxyLoss("proxy_nca", feature_size=6, classes=7, temperature=1.0)
