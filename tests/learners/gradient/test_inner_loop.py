import pytest
import torch

from fewshot.learners.gradient.inner_loop import (
    autograd_gradient,
    carrying,
    descend,
    functional_gradient,
    step_weights,
)

A, N, D = 0.2, 12, 4


def least_squares(seed=0):
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.randn(N, D, generator=generator).double(), torch.randn(N, generator=generator).double()
    return x, y, lambda weights: (x @ weights["w"] - y).square().mean() / 2


def last(steps, start, loss, gradient, **options):
    return list(descend({"w": start}, loss, lambda name, step: A, steps, gradient, **options))[-1]["w"]


@pytest.mark.parametrize("make", [autograd_gradient, functional_gradient])
def test_steps_on_least_squares_are_the_closed_form(make):
    x, y, loss = least_squares()
    w = torch.randn(D).double().requires_grad_()
    h = x.T @ x / N
    shrink = torch.eye(D).double() - A * h
    torch.testing.assert_close(last(1, w, loss, make(True)), shrink @ w + A * x.T @ y / N, rtol=0, atol=1e-12)
    best = torch.linalg.solve(h, x.T @ y / N)
    expected = best + torch.linalg.matrix_power(shrink, 7) @ (w - best)
    torch.testing.assert_close(last(7, w, loss, make(True)), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("make", [autograd_gradient, functional_gradient])
def test_the_gradient_through_the_steps_is_a_power_of_one_minus_the_hessian(make):
    x, _, loss = least_squares()
    _, _, outer = least_squares(seed=1)
    w = torch.randn(D).double().requires_grad_()
    end = last(3, w, loss, make(True))
    inner = torch.func.grad(lambda v: outer({"w": v}))(end.detach())
    shrink = torch.eye(D).double() - A * x.T @ x / N
    (found,) = torch.autograd.grad(outer({"w": end}), w)
    torch.testing.assert_close(found, torch.linalg.matrix_power(shrink, 3) @ inner, rtol=0, atol=1e-12)
    (first,) = torch.autograd.grad(outer({"w": last(3, w, loss, make(False))}), w)
    torch.testing.assert_close(first, inner, rtol=0, atol=1e-12)


@pytest.mark.parametrize("make", [autograd_gradient, functional_gradient])
def test_first_and_second_order_agree_where_the_loss_is_linear(make):
    slope = torch.randn(D).double()
    w = torch.randn(D).double().requires_grad_()
    ends = [last(4, w, lambda weights: weights["w"] @ slope, make(order)) for order in (True, False)]
    grads = [torch.autograd.grad(end.sin().sum(), w)[0] for end in ends]
    torch.testing.assert_close(*grads, rtol=0, atol=1e-15)


def test_a_weight_made_of_another_counts_as_independent_of_it():
    base = torch.tensor(2.0).double().requires_grad_()
    made = 3 * base

    def loss(weights):
        return weights["base"] * weights["made"]

    for make in (autograd_gradient, functional_gradient):
        _, after = descend({"base": base, "made": made}, loss, lambda *_: 1.0, 1, make(True))
        # Not base - d(base * 3 base) / d base, which would be 2 - 12.
        assert float(after["base"].detach()) == 2 - 6


def test_clipping_keeps_the_direction_and_bounds_the_norm():
    _, _, loss = least_squares()
    w = 100 * torch.ones(D).double()
    w.requires_grad_()
    step = (w - last(1, w, loss, autograd_gradient(False), clip=0.5)).detach()
    assert float(step.norm()) == pytest.approx(A * 0.5)
    free = (w - last(1, w, loss, autograd_gradient(False))).detach()
    torch.testing.assert_close(step / step.norm(), free / free.norm())


@pytest.mark.parametrize(
    ("epoch", "early", "final"), [(0, 0.2, 0.2), (7, 0.10667, 0.57333), (14, 0.01333, 0.94667), (14.9, 0.006, 0.976)]
)
def test_losses_of_several_steps_count_as_in_the_published_code(epoch, early, final):
    found = step_weights(5, epoch / 15)
    assert found == pytest.approx([early] * 4 + [final], abs=1e-5)
    assert sum(found) == pytest.approx(1)


def test_after_annealing_the_last_step_counts_alone():
    assert step_weights(5, 1.0) == [0, 0, 0, 0, 1]


def test_carried_gradients_are_scaled_by_what_comes_after():
    a, b = torch.ones(2, requires_grad=True), torch.ones(3, requires_grad=True)
    value = carrying(torch.tensor(5.0), {a: torch.tensor([1.0, 2.0]), b: torch.tensor([3.0, 4.0, 5.0])})
    (2 * value).backward()
    assert float(value.detach()) == 5
    assert a.grad.tolist() == [2, 4]
    assert b.grad.tolist() == [6, 8, 10]
