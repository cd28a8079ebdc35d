"""Second derivatives of BatchNorm against finite differences and against torch's own."""

import pytest
import torch
from torch.autograd import grad, gradcheck, gradgradcheck
from torch.nn.functional import batch_norm

from fewshot.learners.gradient.batch_norm import batch_norm_twice

SHAPES = pytest.mark.parametrize("shape", [(4, 3, 5, 5), (6, 3)])


def given(shape, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=generator, dtype=dtype)
    if len(shape) == 4:
        x = x.contiguous(memory_format=torch.channels_last)
    weights = [torch.randn(shape[1], generator=generator, dtype=dtype) for _ in range(2)]
    return [tensor.requires_grad_() for tensor in (x, *weights)]


def ours(x, weight, bias):
    return batch_norm_twice(x, weight, bias, 1e-5)


def library(x, weight, bias):
    return batch_norm(x, None, None, weight, bias, training=True)


@SHAPES
def test_first_and_second_derivatives_are_those_of_finite_differences(shape):
    assert gradcheck(ours, given(shape))
    assert gradgradcheck(ours, given(shape))


@SHAPES
def test_value_and_derivatives_are_those_of_torch(shape):
    found = []
    for function in (ours, library):
        tensors = given(shape)
        value = function(*tensors)
        # Neither the first nor the second derivative gets a slope that is the same everywhere.
        slopes = grad((value.sin() * torch.arange(value.numel()).view_as(value)).sum(), tensors, create_graph=True)
        mixed = sum((slope.square() * slope.cos()).sum() for slope in slopes)
        found.append([value, *slopes, *grad(mixed, tensors)])
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-10)


def test_images_need_no_gradient():
    x, weight, bias = given((4, 3, 5, 5))
    plain = x.detach()
    found = []
    for function in (ours, library):
        slopes = grad(function(plain, weight, bias).sin().sum(), (weight, bias), create_graph=True)
        found.append(grad(sum(slope.square().sum() for slope in slopes), (weight, bias)))
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-10)


def test_a_third_derivative_is_refused():
    x, weight, bias = given((6, 3))
    (slope,) = grad(ours(x, weight, bias).sin().sum(), x, create_graph=True)
    (second,) = grad(slope.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        second.sum().backward()
