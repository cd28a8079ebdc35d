import pytest
import torch
from torch import nn

from fewshot.backbones.conv4 import Conv4
from fewshot.backbones.folding import fold_batchnorm
from fewshot.backbones.pixels import Pixels


@pytest.mark.parametrize(
    ("channels", "size", "parameters", "features"),
    [(1, 28, 111_936, 64), (3, 84, 113_088, 1600), (3, 32, 113_088, 256)],
)
def test_parameters_and_features_are_those_of_the_paper(channels, size, parameters, features):
    net = Conv4(channels, image_size=size)
    assert sum(p.numel() for p in net.parameters()) == parameters
    assert net(torch.rand(2, channels, size, size)).shape == (2, features)
    assert net.feature_size == features


def test_global_pooling_makes_64_features_without_parameters():
    net = Conv4(3, global_pool=True, image_size=84)
    assert net(torch.rand(2, 3, 84, 84)).shape == (2, 64)
    assert net.feature_size == 64
    assert sum(p.numel() for p in net.parameters()) == 113_088


def textbook(net: Conv4, x: torch.Tensor) -> torch.Tensor:
    """Conv, BatchNorm, ReLU, pool: the order in which the paper says it."""
    for conv, norm, _, _ in net.blocks:
        x = nn.functional.max_pool2d(torch.relu(norm(conv(x))), 2)
    return x.flatten(1)


def test_values_and_gradients_are_those_of_the_order_in_the_paper():
    torch.manual_seed(0)
    net, x = Conv4(1, image_size=28).double(), torch.rand(6, 1, 28, 28, dtype=torch.float64)
    gradients = []
    for forward in (net, lambda x: textbook(net, x)):
        net.zero_grad()
        out = forward(x)
        out.square().mean().backward()
        gradients.append([p.grad.clone() for p in net.parameters()])
    torch.testing.assert_close(net(x), textbook(net, x))
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_stages_halve_the_map_and_end_in_the_features():
    net, x = Conv4(3, image_size=84).eval(), torch.rand(2, 3, 84, 84)
    stages = net.stages(x)
    assert [tuple(s.shape) for s in stages] == [(2, 64, n, n) for n in (42, 21, 10, 5)]
    assert torch.equal(stages[-1].flatten(1), net(x))


def test_folding_batchnorm_changes_no_feature_and_not_the_original():
    torch.manual_seed(0)
    net, x = Conv4(1, image_size=28), torch.rand(16, 1, 28, 28)
    for _ in range(3):
        net(torch.rand(16, 1, 28, 28))
    before = {k: v.clone() for k, v in net.state_dict().items()}
    folded = fold_batchnorm(net)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.modules())
    torch.testing.assert_close(folded(x), net.eval()(x), rtol=1e-4, atol=1e-5)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


def test_pixels_are_the_image():
    x = torch.rand(2, 3, 4, 4)
    assert torch.equal(Pixels(3, 4)(x), x.reshape(2, 48))
