from itertools import pairwise

import pytest
import torch

from fewshot.backbones.folding import fold_batchnorm
from fewshot.backbones.resnet12 import WIDTHS, DropBlock, ResNet12
from fewshot.errors import FewshotError


@pytest.mark.parametrize(
    ("options", "parameters", "features"),
    [({}, 12.4, 640), ({"widths": "narrow"}, 8.0, 512), ({"global_pool": False}, 12.4, 16_000)],
)
def test_parameters_and_features_are_those_of_the_papers(options, parameters, features):
    net = ResNet12(**options).eval()
    # Four convolutions in a block, and two numbers for each channel of their BatchNorms.
    widths = [3, *WIDTHS[options.get("widths", "wide")]]
    counted = sum(9 * a * b + 18 * b * b + a * b + 8 * b for a, b in pairwise(widths))
    assert sum(p.numel() for p in net.parameters()) == counted
    assert counted / 1e6 == pytest.approx(parameters, abs=0.05)
    with torch.no_grad():
        assert net(torch.rand(2, 3, 84, 84)).shape == (2, features)
    assert net.feature_size == features


def test_stages_halve_the_map_and_end_in_the_features():
    net, x = ResNet12(channels=1, image_size=32).eval(), torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        stages = net.stages(x)
        assert [tuple(s.shape) for s in stages] == [
            (2, w, n, n) for w, n in zip((64, 160, 320, 640), (16, 8, 4, 2), strict=True)
        ]
        torch.testing.assert_close(stages[-1].mean((2, 3)), net(x))


def test_a_block_is_three_convolutions_and_a_shortcut():
    torch.manual_seed(0)
    block = ResNet12(image_size=32).eval().blocks[0]
    x = torch.rand(2, 3, 32, 32)
    h = x
    for i in (0, 3, 6):
        h = block.body[i + 1](block.body[i](h))
        h = torch.nn.functional.leaky_relu(h, 0.1) if i < 6 else h
    h = torch.nn.functional.leaky_relu(h + block.shortcut[1](block.shortcut[0](x)), 0.1)
    torch.testing.assert_close(block(x), torch.nn.functional.max_pool2d(h, 2))


def test_folding_batchnorm_changes_no_feature():
    torch.manual_seed(0)
    net, x = ResNet12(widths="narrow", image_size=32), torch.rand(4, 3, 32, 32)
    net(torch.rand(8, 3, 32, 32))
    net.eval()
    with torch.no_grad():
        torch.testing.assert_close(fold_batchnorm(net)(x), net(x), rtol=1e-4, atol=1e-4)


def test_dropblock_drops_squares_and_keeps_the_mean():
    torch.manual_seed(0)
    drop, ones = DropBlock(0.1, 5), torch.ones(400, 8, 21, 21)
    dropped = drop(ones)
    assert float(dropped.mean()) == pytest.approx(1, abs=1e-5)
    assert 0.07 < float((dropped == 0).float().mean()) < 0.11
    # Around each hole's middle lies a whole square.
    holes = (dropped == 0).float()
    opened = torch.nn.functional.max_pool2d(-torch.nn.functional.max_pool2d(-holes, 5, 1, 2), 5, 1, 2)
    inner = (slice(None), slice(None), slice(2, -2), slice(2, -2))
    assert torch.equal(opened[inner], holes[inner])
    # And in eval mode, or on a map smaller than a square, nothing breaks.
    assert torch.equal(drop.eval()(ones), ones)
    assert DropBlock(0.5, 5).train()(torch.ones(2, 3, 2, 2)).isfinite().all()


@pytest.mark.parametrize("options", [{"widths": "slim"}, {"drop_rate": 1.0}, {"image_size": 8}])
def test_what_makes_no_network_is_refused(options):
    with pytest.raises(FewshotError, match=str(next(iter(options.values()))).rstrip("0").rstrip(".")):
        ResNet12(**options)
