import pytest
import torch
from sklearn.linear_model import Ridge
from torch.nn.functional import one_hot

from fewshot.errors import FewshotError
from fewshot.heads.ridge import RidgeHead, ridge_scores

from .conftest import episodes_of, random


@pytest.mark.parametrize("dimension", [3, 20])
def test_it_is_the_ridge_regression_of_scikit_learn(dimension):
    # One dimension less than there are shots, and more: the two ways of solving.
    episodes = episodes_of((2, 3, 1), dimension=dimension)
    targets = one_hot(episodes.support_labels, 3).double()
    found = ridge_scores(episodes.support, targets, episodes.query, 0.7)
    for b in range(len(episodes)):
        model = Ridge(alpha=0.7, fit_intercept=False).fit(episodes.support[b].numpy(), targets[b].numpy())
        torch.testing.assert_close(found[b], torch.from_numpy(model.predict(episodes.query[b].numpy())))


def test_both_ways_of_solving_agree():
    episodes = episodes_of(dimension=6)
    targets = one_hot(episodes.support_labels, 3).double()
    s, x = episodes.support, episodes.query
    eye = torch.eye(6, dtype=torch.float64)
    primal = x @ torch.linalg.inv(s.mT @ s + 2 * eye) @ s.mT @ targets
    dual = x @ s.mT @ torch.linalg.inv(s @ s.mT + 2 * eye) @ targets
    torch.testing.assert_close(ridge_scores(s, targets, x, 2.0), dual, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(primal, dual, rtol=1e-10, atol=1e-10)


def test_limits_of_the_penalty():
    episodes = episodes_of(query=6, dimension=20)
    itself = episodes.with_items(episodes.support, episodes.support)
    # Next to none interpolates the labels where features outnumber shots; a huge one leaves nothing.
    weak = RidgeHead(regularisation=1e-9, bias=False).double()(itself)
    torch.testing.assert_close(weak, one_hot(episodes.support_labels, 3).double(), rtol=1e-6, atol=1e-6)
    assert RidgeHead(regularisation=1e12, bias=False).double()(itself).abs().max() < 1e-9


def test_it_is_invariant_to_rotation():
    episodes = episodes_of()
    rotation = torch.linalg.qr(random(6, 6, seed=9)).Q
    turned = episodes.with_items(episodes.support @ rotation, episodes.query @ rotation)
    head = RidgeHead(regularisation=2.0).double()
    torch.testing.assert_close(head(turned), head(episodes))


def test_scale_shift_bias_and_average_are_those_of_the_authors_code():
    episodes, s = episodes_of(), 6
    head = RidgeHead(regularisation=3.0, scale=4.0, average=True).double()
    torch.nn.init.constant_(head.shift, 0.5)
    found = head(episodes)
    ones = torch.ones(s, 1, dtype=torch.float64)
    for b in range(len(episodes)):
        design = torch.cat([episodes.support[b], ones], 1) / s**0.5
        targets = one_hot(episodes.support_labels[b], 3).double() / s**0.5
        w = design.T @ torch.linalg.inv(design @ design.T + 3 * torch.eye(s, dtype=torch.float64)) @ targets
        x = torch.cat([episodes.query[b], torch.ones(12, 1, dtype=torch.float64)], 1)
        torch.testing.assert_close(found[b], 4 * x @ w + 0.5, rtol=1e-6, atol=1e-6)


def test_gradients_flow_through_the_solution():
    episodes = episodes_of((1, 1, 1), query=2, dimension=4, tasks=1)
    head = RidgeHead(regularisation=2.0, learn_regularisation=True).double()

    def scores(support, query):
        return head(episodes.with_items(support, query))

    assert torch.autograd.gradcheck(scores, (episodes.support.requires_grad_(), episodes.query.requires_grad_()))
    head(episodes).square().sum().backward()
    assert head.log_regularisation.grad.abs() > 0


def test_a_penalty_lost_in_rounding_is_one_line():
    episodes = episodes_of((5, 5, 5), query=2, dimension=64, tasks=1)
    same = 200 * episodes.support[:, ::5].repeat_interleave(5, 1).float()
    with pytest.raises(FewshotError, match=r"head.regularisation=0.0001 is lost"):
        RidgeHead(regularisation=1e-4)(episodes.with_items(same, episodes.query.float()))


@pytest.mark.parametrize("options", [{"regularisation": 0.0}, {"scale": -1.0}])
def test_what_makes_no_head_is_refused(options):
    with pytest.raises(FewshotError, match=f"head.{next(iter(options))}="):
        RidgeHead(**options)
