import sys

import pytest
import timm
import torch

from fewshot.backbones.timm_model import TimmModel
from fewshot.errors import FewshotError


@pytest.mark.parametrize(
    ("model", "size"), [("resnet10t", 176), ("mobilenetv3_small_050", 64), ("vit_tiny_patch16_224", 32)]
)
def test_it_is_timms_model_without_its_classifier(model, size):
    torch.manual_seed(0)
    network = TimmModel(model, channels=1, image_size=size).eval()
    x = torch.randn(2, 1, size, size)
    features = network(x)
    assert features.shape == (2, network.feature_size)
    torch.testing.assert_close(features, network.network.forward_head(network.network.forward_features(x)))
    maps = network.stages(x)
    assert len(maps) > 1
    assert all(part.ndim == 4 and len(part) == 2 for part in maps)
    assert network.pretraining == "none"


def test_it_starts_in_training_mode_with_its_statistics_untouched():
    network = TimmModel("resnet10t", image_size=64)
    assert network.training
    norms = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert all(m.training and int(m.num_batches_tracked) == 0 for m in norms)


def test_unknown_names_and_sizes_and_lacking_weights_are_one_line(monkeypatch):
    with pytest.raises(
        FewshotError, match=r"backbone.model=resnet_none: timm cannot make it .*timm.list_models"
    ) as one:
        TimmModel("resnet_none")
    with pytest.raises(FewshotError, match="timm cannot make it for 8x8 images") as two:
        TimmModel("vit_tiny_patch16_224", image_size=8)

    def refuse(*_, **__):
        raise OSError("no network\nat all")

    monkeypatch.setattr(timm, "create_model", refuse)
    with pytest.raises(FewshotError, match=r"\(no network\)") as three:
        TimmModel("resnet10t", pretrained=True)
    assert all("\n" not in str(caught.value) for caught in (one, two, three))


def test_pretrained_weights_are_told_by_model_and_tag(monkeypatch):
    made = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda *a, pretrained, **k: made(*a, pretrained=False, **k))
    assert TimmModel("resnet10t", pretrained=True, image_size=64).pretraining == "timm resnet10t.c3_in1k"


def test_without_timm_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(FewshotError, match=r"pip install 'fewshot\[timm\]'"):
        TimmModel("resnet10t")
