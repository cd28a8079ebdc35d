"""Changes of colour against torchvision's, image by image."""

import pytest
import torch
from torchvision.transforms.v2 import functional as reference

from fewshot.augment import colour


def images(channels=3, n=5):
    return torch.rand(n, channels, 7, 6, generator=torch.Generator().manual_seed(channels))


AGAINST = {
    "brightness": (reference.adjust_brightness, [0.0, 0.6, 1.0, 1.4, 3.0]),
    "contrast": (reference.adjust_contrast, [0.0, 0.6, 1.0, 1.4, 3.0]),
    "saturation": (reference.adjust_saturation, [0.0, 0.6, 1.0, 1.4, 3.0]),
    "hue": (reference.adjust_hue, [-0.5, -0.1, 0.0, 0.25, 0.5]),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", AGAINST)
def test_each_image_is_changed_as_by_torchvision(name, channels):
    function, amounts = AGAINST[name]
    x = images(channels)
    found = colour.CHANGES[name](x.clone(), torch.tensor(amounts))
    expected = torch.stack([function(image, amount) for image, amount in zip(x, amounts, strict=True)])
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)


def test_colours_without_a_hue_keep_their_grey():
    grey = images(1).repeat(1, 3, 1, 1)
    torch.testing.assert_close(colour.hue(grey, torch.full((5,), 0.3)), grey)
    torch.testing.assert_close(colour.hue(images(), torch.zeros(5)), images())


def test_whole_turns_change_nothing_and_thirds_move_the_channels():
    x = images()
    torch.testing.assert_close(colour.hue(x, torch.ones(5)), x)
    torch.testing.assert_close(colour.hue(x, torch.full((5,), 1 / 3)), x[:, [2, 0, 1]], rtol=0, atol=1e-5)
