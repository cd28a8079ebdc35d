"""A backbone run up to a level and from there on is the backbone."""

import pytest
import torch

from fewshot.backbones.conv4 import Conv4
from fewshot.backbones.pixels import Pixels
from fewshot.backbones.resnet12 import ResNet12
from fewshot.backbones.resnet18 import ResNet18
from fewshot.backbones.wide_resnet import WideResNet
from fewshot.poolings.generalised_sum import GeneralisedSumPooling
from fewshot.poolings.multi_scale import MultiScale
from fewshot.poolings.plain import Flatten, GlobalAverage
from fewshot.poolings.pooled import Pooled, stage_shapes

SIZE = 32


def pooled(pooling, **options):
    backbone = Conv4(channels=1, width=8, image_size=SIZE)
    return Pooled(backbone, pooling(stage_shapes(backbone, 1, SIZE), **options))


BACKBONES = {
    "conv4": lambda: Conv4(channels=1, width=8, image_size=SIZE),
    "conv4 averaged": lambda: Conv4(channels=1, width=8, image_size=SIZE, global_pool=True, poolings=2),
    "resnet12": lambda: ResNet12(channels=1, widths="narrow", image_size=SIZE),
    "resnet18": lambda: ResNet18(channels=1, image_size=SIZE),
    "wide": lambda: WideResNet(channels=1, depth=10, widen=1),
    "pixels": lambda: Pixels(channels=1, image_size=SIZE),
    "flattened": lambda: pooled(Flatten),
    "average": lambda: pooled(GlobalAverage),
    "generalised": lambda: pooled(GeneralisedSumPooling, prototypes=4),
    "last of several": lambda: pooled(MultiScale, stages=1),
    "several stages": lambda: pooled(MultiScale),
}
LEVELS = {"resnet18": 5, "wide": 3, "pixels": 0, "several stages": 0}


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("training", [False, True])
def test_up_to_a_level_and_from_there_on_is_the_whole(name, training):
    torch.manual_seed(0)
    network, images = BACKBONES[name]().train(training), torch.rand(3, 1, SIZE, SIZE)
    assert network.levels == LEVELS.get(name, 4)
    torch.manual_seed(1)
    whole = network(images)
    for level in range(network.levels + 1):
        torch.manual_seed(1)
        assert torch.equal(network.forward_from(level, network.forward_to(level, images)), whole)


@pytest.mark.parametrize("name", ["conv4", "resnet12", "resnet18", "wide", "average"])
def test_the_map_at_a_level_is_that_stage(name):
    network, images = BACKBONES[name]().eval(), torch.rand(2, 1, SIZE, SIZE)
    for level, stage in enumerate(network.stages(images), start=1):
        assert torch.equal(network.forward_to(level, images), stage)
