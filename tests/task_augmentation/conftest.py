"""Episodes of random images, linear and other backbones, and plain learners of them."""

import numpy as np
import torch

from fewshot.backbones.conv4 import Conv4
from fewshot.backbones.staged import Staged
from fewshot.episodes.episodes import Episodes
from fewshot.heads.prototype import PrototypeHead
from fewshot.learners.metric_learner import MetricLearner
from fewshot.losses.cross_entropy import CrossEntropy


def tasks(count=3, way=4, shot=2, query=3, channels=1, side=16, seed=0, shuffled=True, dtype=torch.float64) -> Episodes:
    """Random images; queries come in an order of their own in each task, as samplers have it."""
    generator = torch.Generator().manual_seed(seed)
    labels = [torch.arange(way).repeat_interleave(n).expand(count, -1).contiguous() for n in (shot, query)]
    if shuffled:
        order = torch.rand(count, way * query, generator=generator).argsort(1)
        labels[1] = labels[1].gather(1, order)
    items = [torch.rand(count, way * n, channels, side, side, generator=generator, dtype=dtype) for n in (shot, query)]
    classes = torch.rand(count, 20, generator=generator).argsort(1)[:, :way]
    return Episodes(items[0], labels[0], items[1], labels[1], classes)


class Linear(Staged):
    """Two linear maps, one after the other, and no more."""

    def __init__(self, side=16, width=5):
        super().__init__()
        self.blocks = torch.nn.ModuleList([torch.nn.Flatten(), torch.nn.Linear(side**2, 7), torch.nn.Linear(7, width)])
        self.feature_size = width

    def pooled(self, last):
        return last


def conv4(**options) -> Conv4:
    return Conv4(channels=1, width=6, image_size=16, **options).double()


def learner_of(augmentation=None, backbone=None, seed=0) -> MetricLearner:
    torch.manual_seed(seed)
    return MetricLearner(backbone or conv4(), PrototypeHead(), CrossEntropy(), augmentation).double()


def gradients(learner, episodes, seed=1):
    """Loss, gradients and buffers after one step's forward and backward pass."""
    torch.manual_seed(seed)
    found = learner.training_loss(episodes)
    learner.zero_grad()
    found.total.backward()
    return found, {n: p.grad.clone() for n, p in learner.named_parameters()}, dict(learner.named_buffers())


def rng(seed=0):
    return np.random.default_rng(seed)
