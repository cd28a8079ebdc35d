import pytest
import torch

from fewshot.backbones.folding import fold_batchnorm
from fewshot.backbones.wide_resnet import WideResNet
from fewshot.errors import FewshotError


def test_wrn_28_10_has_the_published_number_of_parameters():
    # 36.5 million with the ten-way classifier of CIFAR-10, table 4 of the paper.
    network = WideResNet()
    assert network.feature_size == 640
    parameters = sum(p.numel() for p in network.parameters()) + 641 * 10
    assert parameters == 36_479_194


def test_stages_halve_the_map_and_features_are_their_last_mean():
    torch.manual_seed(0)
    network = WideResNet(channels=1, depth=10, widen=2).eval()
    x = torch.randn(2, 1, 21, 21)
    maps = network.stages(x)
    assert [tuple(part.shape) for part in maps] == [(2, 32, 21, 21), (2, 64, 11, 11), (2, 128, 6, 6)]
    assert (maps[-1] >= 0).all()
    torch.testing.assert_close(network(x), maps[-1].mean(dim=(2, 3)))
    torch.testing.assert_close(fold_batchnorm(network)(x), network(x), rtol=1e-4, atol=1e-5)


def test_a_block_adds_to_what_comes_in():
    network = WideResNet(depth=16, widen=1)
    block = network.groups[1][1].eval()
    x = torch.randn(2, 32, 8, 8)
    torch.nn.init.zeros_(block.body[-1].weight)
    assert torch.equal(block(x), x)


@pytest.mark.parametrize("options", [{"depth": 18}, {"depth": 4}, {"widen": 0}, {"dropout": 1.0}])
def test_what_does_not_exist_is_refused(options):
    (name,) = options
    with pytest.raises(FewshotError, match=f"backbone.{name}="):
        WideResNet(**options)
