"""Heads in closed form: ESZSL and attribute regression."""

import pytest
import torch
from sklearn.linear_model import Ridge
from torch.nn.functional import normalize

from fewshot.episodes.episodes import Episodes
from fewshot.errors import FewshotError
from fewshot.heads.attribute_regression import AttributeRegressionHead
from fewshot.heads.eszsl import ESZSLHead
from fewshot.heads.feature_transform import FeatureTransform, Prepared

from .conftest import random

HEADS = {"eszsl": ESZSLHead, "attribute_regression": AttributeRegressionHead}


def base(n=60, d=6, classes=8, a=5):
    labels = torch.arange(classes).repeat_interleave(n // classes + 1)[:n]
    return random(n, d), labels, random(classes, a, seed=3).abs()


def tasks(features, attributes, labels):
    b = features.shape[0]
    ids = torch.arange(attributes.shape[0]).expand(b, -1)
    return Episodes(features[:, :0], labels[:, :0], features, labels, ids, attributes.expand(b, -1, -1))


@pytest.mark.parametrize("signed", [True, False])
def test_eszsl_minimises_its_objective(signed):
    x, labels, attributes = base()
    head = ESZSLHead(6, 5, 2.0, 3.0, signed, "raw").double()
    head.fit_base(x, labels, attributes)
    weight = head.weight.clone().requires_grad_()
    y = torch.nn.functional.one_hot(labels, 8).double()
    y = 2 * y - 1 if signed else y
    # The penalty of the paper: on W A', on X W, and the product of both weights on W itself.
    objective = (
        (x @ weight @ attributes.T - y).square().sum()
        + 2.0 * (weight @ attributes.T).square().sum()
        + 3.0 * (x @ weight).square().sum()
        + 6.0 * weight.square().sum()
    )
    (slope,) = torch.autograd.grad(objective, weight)
    assert slope.abs().max() < 1e-9


def test_regression_is_scikit_learns_ridge():
    x, labels, attributes = base()
    head = AttributeRegressionHead(6, 5, 2.0, scaling="raw").double()
    head.fit_base(x, labels, attributes)
    expected = Ridge(alpha=2.0).fit(x.numpy(), attributes[labels].numpy())
    new = random(7, 6, seed=5)
    torch.testing.assert_close(head.guessed(new), torch.from_numpy(expected.predict(new.numpy())))


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("scaling", ["raw", "unit"])
def test_new_classes_of_a_linear_world_are_all_known(name, scaling):
    generator = torch.Generator().manual_seed(1)
    # Of one length each, or a long row would have the highest product with all others.
    table = normalize(torch.randn(80, 5, generator=generator, dtype=torch.float64), dim=-1)
    mixing = torch.randn(5, 12, generator=generator, dtype=torch.float64)
    # With targets of -1 the mean of all features and attributes has a say, which here is nothing but noise.
    options = {"penalty": 1e-6} if name == "attribute_regression" else {"signed": False}
    head = HEADS[name](12, 5, **options, scaling=scaling).double()
    labels = torch.arange(60).repeat_interleave(5)
    head.fit_base((table @ mixing)[labels], labels, table[:60])
    new = tasks((table[60:] @ mixing)[None], table[60:], torch.arange(20)[None])
    accuracy = (head(new).argmax(-1) == new.query_labels).double().mean()
    assert accuracy > 0.9
    shuffled = Episodes(*new.tensors()[:5], attributes=new.attributes[:, torch.arange(20).roll(1)])
    assert (head(shuffled).argmax(-1) == new.query_labels).double().mean() <= 0.1


@pytest.mark.parametrize("name", HEADS)
def test_one_row_of_attributes_for_two_classes_cannot_tell_them_apart(name):
    x, labels, attributes = base()
    head = HEADS[name](6, 5).double()
    head.fit_base(x, labels, attributes)
    twins = torch.stack([attributes[0], attributes[1], attributes[0]])
    scores = head(tasks(random(2, 9, 6, seed=7), twins, torch.zeros(2, 9, dtype=torch.int64)))
    assert torch.equal(scores[..., 0], scores[..., 2])


@pytest.mark.parametrize("name", HEADS)
def test_the_order_of_the_base_images_is_of_no_account_and_features_are_prepared_for_the_fit_too(name):
    x, labels, attributes = base()
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    heads = [Prepared(HEADS[name](6, 5).double(), FeatureTransform("l2n")) for _ in range(3)]
    heads[0].fit_base(x, labels, attributes)
    heads[1].fit_base(x[order], labels[order], attributes)
    # Of unit length whatever the length was.
    heads[2].fit_base(x * torch.linspace(1, 3, len(x))[:, None].double(), labels, attributes)
    new = tasks(random(1, 9, 6, seed=7), attributes, torch.zeros(1, 9, dtype=torch.int64))
    assert all(head.is_fitted and not head.needs_support for head in heads)
    for head in heads[1:]:
        torch.testing.assert_close(head(new), heads[0](new))


@pytest.mark.parametrize("name", HEADS)
def test_what_cannot_be_is_one_line(name):
    head = HEADS[name](6, 5)
    assert not head.is_fitted
    empty = tasks(torch.zeros(1, 2, 6), torch.zeros(3, 5), torch.zeros(1, 2, dtype=torch.int64))
    with pytest.raises(FewshotError, match=f"head={name} was not fitted to base classes"):
        head(empty)
    with pytest.raises(FewshotError, match=f"head={name} knows classes by their attributes, and this data has none"):
        HEADS[name](6, None)
    penalty = "feature_penalty" if name == "eszsl" else "penalty"
    with pytest.raises(FewshotError, match=f"head.{penalty}=0.0; expected more than 0"):
        HEADS[name](6, 5, **{penalty: 0.0})
