import numpy as np
import pytest
import torchvision.transforms as T
from PIL import Image

from fewshot.data.pipeline import PIPELINES, pipeline_named
from fewshot.errors import FewshotError

from .conftest import noise

SIZES = [(84, 84), (500, 375), (60, 131), (97, 96)]
# The published transforms of test images, in torchvision's words.
PUBLISHED = {
    "simpleshot": T.Compose([T.Resize(96), T.CenterCrop(84)]),
    "chen": T.Compose([T.Resize([96, 96]), T.CenterCrop(84)]),
    "chen224": T.Compose([T.Resize([257, 257]), T.CenterCrop(224)]),
    "deepemd": T.Compose([T.Resize([92, 92]), T.CenterCrop(84)]),
    "metabaseline": T.Compose([T.Resize(80), T.CenterCrop(80)]),
    "msenet": T.Resize([84, 84]),
}


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("size", SIZES)
def test_pixels_are_those_of_the_published_transform(name, size):
    image = Image.fromarray(noise(3, size[1], size[0]))
    expected = np.asarray(PUBLISHED[name](image)).transpose(2, 0, 1)
    assert np.array_equal(PIPELINES[name].pixels(image), expected)


@pytest.mark.parametrize(("name", "side"), [("ravi84", 84), ("msenet", 84), ("cifar32", 32)])
def test_images_of_the_right_size_are_left_alone(name, side):
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    assert np.array_equal(PIPELINES[name].pixels(Image.fromarray(pixels)).transpose(1, 2, 0), pixels)


@pytest.mark.parametrize("mode", ["L", "CMYK", "P", "RGBA", "1"])
def test_images_of_every_mode_become_rgb(mode):
    image = Image.fromarray(noise(4, 90, 90)).convert(mode)
    assert PIPELINES["chen"].pixels(image).shape == (3, 84, 84)


def test_a_box_is_cut_out_first():
    pixels = noise(5, 120, 160)
    inside = Image.fromarray(pixels[20:110, 30:100])
    boxed = PIPELINES["chen"].pixels(Image.fromarray(pixels), (30, 20, 100, 110))
    assert np.array_equal(boxed, PIPELINES["chen"].pixels(inside))


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(FewshotError, match=r"data\.pipeline=resnet; expected one of ravi84, simpleshot, chen"):
        pipeline_named("resnet")
