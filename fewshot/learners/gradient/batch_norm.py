"""BatchNorm by the statistics of its input, whose second derivatives are written out."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

_ops = torch.ops.aten


def batch_norm_twice(
    x: Float[Tensor, "n d ..."], weight: Float[Tensor, " d"], bias: Float[Tensor, " d"], epsilon: float
) -> Float[Tensor, "n d ..."]:
    """`torch.nn.functional.batch_norm` in training, to be differentiated twice and not a third time.

    Torch makes its second derivative of some thirty small operations, slow ones for channels-last maps: a tenth of the time of
    a second-order step of MAML on a CPU. Here it is the kernel of the first derivative once more, and five passes.

    Args:
        x: normalised over all dimensions but the second, with mean and variance of its own.
        weight: of each channel.
        bias: of each channel.
        epsilon: added to variances.

    Source: Ioffe and Szegedy, Batch Normalization, 2015, section 3; the second derivative follows from its equations.
    """
    return _BatchNorm.apply(x, weight, bias, epsilon)


class _BatchNorm(Function):
    @staticmethod
    def forward(ctx, x, weight, bias, epsilon):
        y, mean, scale = _ops.native_batch_norm(x, weight, bias, None, None, True, 0.0, epsilon)
        ctx.save_for_backward(x, weight, mean, scale)
        ctx.epsilon = epsilon
        return y

    @staticmethod
    def backward(ctx, slope):
        return *_BatchNormSlopes.apply(slope, *ctx.saved_tensors, ctx.epsilon), None


class _BatchNormSlopes(Function):
    """Slopes of input, weight and bias.

    With u the normalised input, r one over the deviation, w the weight and g the slope of the output, and means and sums over
    a channel: `w r (g - mean(g) - u mean(g u))`, `sum(g u)` and `sum(g)`. u and r depend on the input too.
    """

    @staticmethod
    def forward(ctx, slope, x, weight, mean, scale, epsilon):
        found = _slopes(slope, x, weight, mean, scale, epsilon)
        ctx.save_for_backward(slope, x, weight, mean, scale, *found[1:])
        ctx.epsilon = epsilon
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx, to_x, to_weight, to_bias):
        slope, x, weight, mean, scale, sum_gu, sum_g = ctx.saved_tensors
        count = x.numel() // len(weight)
        _, sum_vu, sum_v = _slopes(to_x, x, weight, mean, scale, ctx.epsilon, wants_x=False)
        dots = (to_x * slope).sum((0, *range(2, x.dim())))
        spread = dots.sub_(torch.addcmul(sum_v * sum_g, sum_vu, sum_gu), alpha=1 / count)
        of_weight = scale * spread
        # The slope of x is a symmetric matrix times that of the output, so `to_x` takes the way of the latter.
        by_v, share = weight * scale, (scale * scale).mul_(weight).div_(count)
        tilt = to_weight * scale
        by_x = torch.addcmul(tilt, share, sum_vu, value=-1)
        level = to_bias.addcmul(by_x, mean, value=-1).addcmul_(by_v, sum_v, value=-1 / count)
        of_slope = torch.addcmul(_wide(level, x), to_x, _wide(by_v, x)).addcmul_(x, _wide(by_x, x))
        if not ctx.needs_input_grad[1]:
            return of_slope, None, of_weight, None, None, None
        # By u, times r, the slope is `b g - a v` with v for `to_x`; r depends on x through `spread`. b is `by_x`.
        a = share * sum_gu
        mean_hu = (by_x * sum_gu).addcmul_(a, sum_vu, value=-1)
        along = scale * torch.addcmul(mean_hu, share, spread, value=count)
        level = (by_x * sum_g).addcmul_(a, sum_v, value=-1).addcmul_(along, mean, value=-1)
        of_x = torch.addcmul(_wide(level.div_(-count), x), to_x, _wide(a, x), value=-1)
        of_x.addcmul_(slope, _wide(by_x, x)).addcmul_(x, _wide(along, x), value=-1 / count)
        return of_slope, of_x, of_weight, None, None, None


def _slopes(slope, x, weight, mean, scale, epsilon, wants_x=True) -> tuple[Tensor | None, Tensor, Tensor]:
    wanted = [wants_x, True, True]
    return _ops.native_batch_norm_backward(slope, x, weight, None, None, mean, scale, True, epsilon, wanted)


def _wide(channels: Tensor, x: Tensor) -> Tensor:
    return channels.reshape(1, -1, *(1,) * (x.dim() - 2))
