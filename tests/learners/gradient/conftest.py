"""Small smooth learners in double precision, and episodes of images for them."""

import pytest
import torch
from torch import nn

from fewshot.episodes.episodes import Episodes
from fewshot.heads.linear import LinearHead
from fewshot.heads.prototype import PrototypeHead
from fewshot.learners.gradient.maml import MAML
from fewshot.learners.metric_learner import MetricLearner
from fewshot.losses.cross_entropy import CrossEntropy


class Net(nn.Module):
    """Two convolutions with tanh, so that finite differences are smooth; BatchNorm between them or not."""

    def __init__(self, norm=True):
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 3, 3), nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(3) if norm else nn.Identity()
        self.feature_size = 4

    def forward(self, images):
        return torch.tanh(self.second(torch.tanh(self.norm(self.first(images))))).mean((2, 3))


def tasks(count=3, way=3, shot=2, query=2, side=6, seed=0, dtype=torch.float64) -> Episodes:
    generator = torch.Generator().manual_seed(seed)
    labels = [torch.arange(way).repeat_interleave(n).expand(count, -1).contiguous() for n in (shot, query)]
    items = [torch.randn(count, way * n, 1, side, side, generator=generator, dtype=dtype) for n in (shot, query)]
    classes = torch.arange(way).expand(count, -1).contiguous()
    return Episodes(items[0], labels[0], items[1], labels[1], classes)


def linear_maml(start="weights", norm_in_net=True, way=3, multiplier=1.0, seed=0, **options) -> MAML:
    torch.manual_seed(seed)
    net = Net(norm_in_net)
    learner = MetricLearner(net, LinearHead(4, way, start, multiplier=multiplier), CrossEntropy())
    return MAML(learner, **{"steps": 2, "lr": 0.3, **options}).double()


def metric_maml(distance="mahalanobis", loss=None, seed=0, **options) -> MAML:
    torch.manual_seed(seed)
    head = PrototypeHead(distance, learn_temperature=True, feature_size=4)
    learner = MetricLearner(Net(), head, loss or CrossEntropy())
    options = {"steps": 2, "lr": 0.1, "adapts": "head", "norm": "running", "split": "leave_one_out", **options}
    return MAML(learner, **options).double()


def gradients(learner, episodes) -> dict[str, torch.Tensor]:
    learner.zero_grad()
    learner.training_loss(episodes).total.backward()
    return {name: p.grad.clone() for name, p in learner.named_parameters() if p.grad is not None}


def assert_finite_differences(learner, episodes, found, rel: float, abs: float, step: float = 1e-5) -> None:
    """The first, the middle and the last number of each gradient are difference quotients of the training loss."""
    for name, p in learner.named_parameters():
        flat = p.data.view(-1)
        for i in (0, len(flat) // 2, len(flat) - 1):
            before, values = float(flat[i]), []
            for change in (step, -step):
                flat[i] = before + change
                values.append(float(learner.training_loss(episodes).total.detach()))
            flat[i] = before
            slope = (values[0] - values[1]) / (2 * step)
            assert float(found[name].view(-1)[i]) == pytest.approx(slope, rel=rel, abs=abs), name
