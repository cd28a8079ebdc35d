"""BatchNorm by the images of all processes."""

import torch
from torch import Tensor, nn
from torch.autograd import Function

from fewshot.device import processes


class SharedBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm whose statistics in training are those of the images of all processes, each of which has equally many.

    A step then normalises the same images together however many processes share it. torch's SyncBatchNorm does the same on GPUs
    alone.

    Source: Ioffe and Szegedy, Batch Normalization, 2015, algorithm 1.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or processes() == 1:
            return super().forward(x)
        dims, shape = (0, 2, 3), (1, -1, 1, 1)
        wide = x if x.dtype == torch.float64 else x.float()
        mean = _mean_over_processes(wide.mean(dims))
        centred = wide - mean.reshape(shape)
        variance = _mean_over_processes(centred.square().mean(dims))
        if self.track_running_stats:
            self._remember(mean.detach(), variance.detach(), processes() * x.numel() // x.shape[1])
        y = centred * (variance + self.eps).rsqrt().reshape(shape)
        if self.affine:
            y = y * self.weight.reshape(shape) + self.bias.reshape(shape)
        return y.to(x.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, count: int) -> None:
        self.num_batches_tracked += 1
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        # As BatchNorm does, the estimate without bias is what tests use.
        self.running_var.lerp_((variance * count / max(count - 1, 1)).to(self.running_var.dtype), share)


def share_batch_norms(module: nn.Module) -> None:
    """Make each `BatchNorm2d` of a module, in place, one of all processes; its weights stay where they are."""
    for part in module.modules():
        if type(part) is nn.BatchNorm2d:
            part.__class__ = SharedBatchNorm2d


def _mean_over_processes(values: Tensor) -> Tensor:
    return _Sum.apply(values) / processes()


class _Sum(Function):
    """The sum over processes. What each does with it depends on the values of all, so slopes are summed as well."""

    @staticmethod
    def forward(ctx, values):
        values = values.clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(values)
        return values

    @staticmethod
    def backward(ctx, slope):
        return _Sum.apply(slope)
