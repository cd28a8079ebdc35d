import pytest
import torch
from torchvision.models import resnet18

from fewshot.backbones.folding import fold_batchnorm
from fewshot.backbones.resnet18 import ResNet18
from fewshot.errors import FewshotError


def test_with_the_stem_of_imagenet_it_is_torchvisions_without_the_classifier():
    torch.manual_seed(0)
    mine, theirs = ResNet18(stem="imagenet").eval(), resnet18().eval()
    names = {"stem.0": "conv1", "stem.1": "bn1", **{f"groups.{i}": f"layer{i + 1}" for i in range(4)}}
    weights = theirs.state_dict()
    renamed = {}
    for name in mine.state_dict():
        start = ".".join(name.split(".")[:2])
        renamed[name] = weights[name.replace(start, names[start], 1)]
    mine.load_state_dict(renamed)
    theirs.fc = torch.nn.Identity()
    x = torch.randn(2, 3, 84, 84)
    torch.testing.assert_close(mine(x), theirs(x))


@pytest.mark.parametrize(
    ("stem", "channels", "sides"), [("small", 1, [84, 84, 42, 21, 11]), ("imagenet", 3, [21, 21, 11, 6, 3])]
)
def test_stages_and_features(stem, channels, sides):
    network = ResNet18(channels, stem).eval()
    x = torch.randn(2, channels, 84, 84)
    maps = network.stages(x)
    assert [tuple(part.shape) for part in maps] == [
        (2, c, side, side) for c, side in zip((64, 64, 128, 256, 512), sides, strict=True)
    ]
    assert network.feature_size == 512
    torch.testing.assert_close(network(x), maps[-1].mean(dim=(2, 3)))
    torch.testing.assert_close(fold_batchnorm(network)(x), network(x), rtol=1e-4, atol=1e-5)


def test_what_does_not_fit_is_refused():
    with pytest.raises(FewshotError, match=r"backbone\.stem=tiny"):
        ResNet18(stem="tiny")
    with pytest.raises(FewshotError, match=r"pretrained=true needs backbone\.stem=imagenet"):
        ResNet18(pretrained=True)


def test_weights_that_cannot_be_had_are_one_line(monkeypatch):
    def refuse(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)
    with pytest.raises(FewshotError, match=r"could not get its weights \(no network\)"):
        ResNet18(stem="imagenet", pretrained=True)


def test_pretrained_weights_are_told(monkeypatch):
    weights = resnet18().state_dict()
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", lambda *_, **__: weights)
    network = ResNet18(stem="imagenet", pretrained=True)
    assert network.pretraining == "imagenet1k"
    assert torch.equal(network.stem[0].weight, weights["conv1.weight"])
    assert ResNet18().pretraining == "none"
