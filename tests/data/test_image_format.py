import numpy as np
import pytest
import torch
from PIL import Image

from fewshot.data.bank import Bank
from fewshot.data.image_format import ImageFormat, in_format
from fewshot.errors import FewshotError


def bank(channels, side, pipeline="own", mean=(), std=()):
    items = torch.randint(
        0, 256, (6, channels, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )
    return Bank(items, torch.arange(3).repeat_interleave(2), ["a", "b", "c"], pipeline=pipeline, mean=mean, std=std)


def test_what_fits_is_left_alone():
    own = bank(3, 20)
    assert in_format(own, ImageFormat.of(bank(3, 20, "another"))) is own


def test_grey_becomes_rgb_and_rgb_its_luma():
    grey, colour = bank(1, 20), bank(3, 20)
    wide = in_format(grey, ImageFormat.of(colour))
    assert torch.equal(wide.items, grey.items.expand(-1, 3, -1, -1))
    narrow = in_format(colour, ImageFormat.of(grey))
    for item, made in zip(colour.items, narrow.items, strict=True):
        expected = np.asarray(Image.fromarray(item.permute(1, 2, 0).numpy()).convert("L"))
        assert np.abs(expected.astype(int) - made[0].numpy()).max() <= 1


@pytest.mark.parametrize(("side", "wanted"), [(32, 84), (84, 28), (84, 32)])
def test_sizes_are_changed_as_pillow_does_it(side, wanted):
    own = bank(3, side)
    made = in_format(own, ImageFormat.of(bank(3, wanted)))
    for item, result in zip(own.items, made.items, strict=True):
        image = Image.fromarray(item.permute(1, 2, 0).numpy()).resize((wanted, wanted), Image.Resampling.BILINEAR)
        assert np.abs(np.asarray(image).astype(int) - result.permute(1, 2, 0).numpy()).max() <= 1


def test_normalisation_and_name_tell_of_the_training_images():
    trained = bank(3, 20, "ravi84", mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    own = bank(3, 20, "chen", mean=(0.5, 0.5, 0.5))
    made = in_format(own, ImageFormat.of(trained))
    assert (made.mean, made.std, made.pipeline) == (trained.mean, trained.std, "chen as ravi84")
    # The pixels are the same, so the bank is.
    assert made.fingerprint == own.fingerprint
    assert in_format(bank(3, 32), ImageFormat.of(trained)).fingerprint != bank(3, 32).fingerprint


def test_a_format_comes_back_from_json():
    wanted = ImageFormat.of(bank(3, 20, mean=(0.1, 0.2, 0.3)))
    assert ImageFormat.from_json(wanted.to_json()) == wanted


def test_other_channels_are_refused():
    with pytest.raises(FewshotError, match="has 4 channels, the learner was trained on 3"):
        in_format(bank(4, 20), ImageFormat.of(bank(3, 20)))


def test_numbers_that_went_through_32_bits_are_the_same():
    exact, rounded = (
        bank(3, 20, mean=mean) for mean in ((0.485, 0.456, 0.406), (np.float32(0.485).item(), 0.456, 0.406))
    )
    assert exact.mean != rounded.mean
    assert ImageFormat.of(exact).fits(ImageFormat.of(rounded))
    assert not ImageFormat.of(exact).fits(ImageFormat.of(bank(3, 20, mean=(0.4851, 0.456, 0.406))))
    assert not ImageFormat.of(exact).fits(ImageFormat.of(bank(1, 20)))


def test_there_must_be_a_format_and_images():
    with pytest.raises(
        FewshotError, match=r"the format is of type NoneType; expected learner.image_format of a trained"
    ):
        in_format(bank(3, 20), None)
    with pytest.raises(FewshotError, match="has features, which have no image format"):
        in_format(bank(3, 20).with_features(torch.zeros(6, 4)), ImageFormat.of(bank(3, 20)))
    with pytest.raises(FewshotError, match="mean has 1 values for 3 channels"):
        ImageFormat(3, 20, 20, (0.5,), (1, 1, 1), "mine")
    assert ImageFormat(3, 20, 20, [0.5, 0.5, 0.5], np.ones(3), "mine").std == (1.0, 1.0, 1.0)
