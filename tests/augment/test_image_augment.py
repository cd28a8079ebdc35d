import pytest
import torch

from fewshot.augment.image_augment import ImageAugment
from fewshot.augment.pixels import gather_images, training_images
from fewshot.errors import FewshotError


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_doing_nothing_does_nothing():
    x = torch.rand(3, 1, 5, 5)
    assert ImageAugment()(x, generator()) is x


def test_every_result_is_a_shifted_or_mirrored_original_and_all_kinds_occur():
    x = torch.arange(36.0).view(1, 1, 6, 6).repeat(2000, 1, 1, 1)
    out = ImageAugment(shift=1, flip=True)(x, generator())
    padded = torch.nn.functional.pad(x[:1], (1, 1, 1, 1), mode="replicate")[0, 0]
    shifted = [padded[i : i + 6, j : j + 6] for i in range(3) for j in range(3)]
    mirrored = torch.nn.functional.pad(x[:1], (1, 1, 1, 1), mode="replicate")[0, 0].flip(1)
    kinds = shifted + [mirrored[i : i + 6, j : j + 6] for i in range(3) for j in range(3)]
    counts = torch.tensor([sum(torch.equal(o[0], k) for o in out) for k in kinds])
    assert counts.sum() == 2000
    assert ((counts - 2000 / 18).abs() < 5 * (2000 / 18) ** 0.5).all()


def test_both_flips_make_four_kinds_equally_often():
    x = torch.arange(30.0).view(1, 1, 5, 6).repeat(2000, 1, 1, 1)
    out = ImageAugment(flip=True, vertical_flip=True)(x, generator())
    kinds = [x[0], x[0].flip(2), x[0].flip(1), x[0].flip(1, 2)]
    counts = torch.tensor([sum(torch.equal(o, k) for o in out) for k in kinds])
    assert counts.sum() == 2000
    assert ((counts - 500).abs() < 5 * 500**0.5).all()


def test_colours_are_changed_and_lost_with_the_chances_asked_for():
    x = torch.rand(1, 3, 6, 6, generator=generator()).repeat(4000, 1, 1, 1)
    out = ImageAugment(brightness=0.4, hue=0.1, jitter=0.8)(x, generator())
    changed = (out != x).flatten(1).any(1).double().mean()
    assert abs(changed - 0.8) < 0.03
    out = ImageAugment(grey=0.2)(x, generator())
    lost = (out != x).flatten(1).any(1)
    assert abs(lost.double().mean() - 0.2) < 0.03
    assert torch.equal(out[lost][:, 0], out[lost][:, 2])
    weights = torch.tensor([0.2989, 0.587, 0.114]).view(3, 1, 1)
    torch.testing.assert_close(out[lost][0, 0], (weights * x[0]).sum(0))
    none = ImageAugment(brightness=0.4, jitter=0.0)(x, generator())
    assert torch.equal(none, x)


def test_dropout_takes_whole_pixels_and_keeps_the_mean():
    x = 0.2 + 0.8 * torch.rand(300, 3, 20, 20, generator=generator())
    out = ImageAugment(dropout=0.3)(x, generator())
    gone = out == 0
    assert torch.equal(gone[:, 0], gone[:, 2])
    share = gone[:, 0].double().mean()
    assert abs(share - 0.3) < 0.01
    torch.testing.assert_close(out, torch.where(gone, 0, x / 0.7))
    assert abs(out.mean() - x.mean()) < 0.01
    # Each image has holes of its own.
    assert len(gone[:, 0].flatten(1).unique(dim=0)) == 300


def test_shares_above_one_take_the_whole_image_where_nothing_fits():
    x = torch.rand(200, 1, 12, 12, generator=generator())
    # A share of 1 itself is the image; what is larger is drawn anew or left.
    assert torch.equal(ImageAugment(crop_scale=(1.0, 5.0), crop_ratio=(1.0, 1.0))(x, generator()), x)
    out = ImageAugment(crop_scale=(0.6, 1.4))(x, generator())
    assert out.isfinite().all()
    whole = (out == x).flatten(1).all(1).double().mean()
    assert 0.0 < whole < 0.5


def test_rectangles_take_the_value_asked_for():
    x = 0.2 + 0.8 * torch.rand(100, 1, 12, 12, generator=generator())
    out = ImageAugment(erase=1.0, erase_value=0.0)(x, generator())
    assert torch.equal(out[out != 0], x[out != 0])
    assert ((out == 0).flatten(1).sum(1) > 0).all()


def test_channels_move_together():
    x = torch.rand(50, 1, 8, 8).repeat(1, 3, 1, 1)
    out = ImageAugment(shift=2, flip=True)(x, generator())
    assert torch.equal(out[:, 0], out[:, 1])
    assert torch.equal(out[:, 0], out[:, 2])


ALL = {
    "crop_scale": (0.2, 1.0), "flip": True, "vertical_flip": True, "brightness": 0.4, "contrast": 0.4, "saturation": 0.4,
    "hue": 0.1, "jitter": 0.8, "grey": 0.2, "erase": 0.5,
}  # fmt: skip


def test_everything_at_once_is_a_function_of_images_and_generator():
    x = torch.rand(60, 3, 12, 12, generator=generator())
    kept = x.clone()
    augment = ImageAugment(**ALL)
    out = augment(x, generator(3))
    assert torch.equal(x, kept)
    assert out.shape == x.shape
    assert out.isfinite().all()
    assert out.min() >= 0
    assert out.max() <= 1
    assert torch.equal(augment(x, generator(3)), out)
    assert not torch.equal(augment(x, generator(4)), out)
    # Images of one batch differ in what is done to them.
    same = augment(x[:1].expand(60, -1, -1, -1), generator(3))
    assert len(same.flatten(1).unique(dim=0)) == 60
    moved = augment(x.to(memory_format=torch.channels_last), generator(3))
    assert moved.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(moved, out)


def test_parts_of_larger_images_have_the_size_asked_for_and_all_else_is_done_to_them():
    x = torch.rand(300, 3, 32, 32, generator=generator())
    cut = ImageAugment(crop_scale=(0.1, 1.0), size=8)
    out = cut(x, generator(3))
    assert out.shape == (300, 3, 8, 8)
    # Parts have as much in them whatever they are scaled to: those of the image's size, made smaller, are much the same.
    large = ImageAugment(crop_scale=(0.1, 1.0))(x, generator(3))
    assert (out - torch.nn.functional.interpolate(large, (8, 8), mode="area")).abs().mean() < 0.05
    assert cut(x[:0], generator(3)).shape == (0, 3, 8, 8)
    erased = ImageAugment(crop_scale=(0.1, 1.0), size=8, erase=1.0, erase_value=0.0)(x, generator(3))
    share = (erased == 0).all(1).double().mean()
    assert 0.1 < share < 0.25
    assert torch.equal(torch.where(erased == 0, 0, out), erased)


def test_grey_images_have_no_colours_to_change():
    x = torch.rand(5, 1, 12, 12, generator=generator())
    assert torch.equal(ImageAugment(saturation=0.5, hue=0.5)(x, generator()), x)


@pytest.mark.parametrize("more", [{"brightness": 2.0}, {"contrast": 0.4}])
def test_factors_are_spread_around_one(more):
    # One bright pixel in a dark image tells the factor.
    x = torch.zeros(4000, 1, 10, 10)
    x[:, :, 0, 0] = 0.25
    factor = ImageAugment(**more)(x, generator())[:, 0, 0, 0] / 0.25
    (amount,) = more.values()
    assert factor.min() == pytest.approx(max(0, 1 - amount), abs=0.02)
    assert factor.max() == pytest.approx(1 + amount, abs=0.02)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"shift": -1}, "augment.shift=-1"),
        ({"shift": 1, "crop_scale": (0.5, 1.0)}, "two ways to crop"),
        ({"crop_scale": (0.0, 1.0)}, "augment.crop_scale="),
        ({"crop_scale": (0.5, 0.4)}, "augment.crop_scale="),
        ({"crop_scale": (1.1, 1.4)}, "augment.crop_scale="),
        ({"jitter": 1.1}, "augment.jitter=1.1; expected 0 to 1"),
        ({"grey": -0.1}, "augment.grey=-0.1; expected 0 to 1"),
        ({"dropout": 1.0}, "augment.dropout=1.0; expected 0 to less than 1"),
        ({"crop_scale": (0.5,)}, "augment.crop_scale="),
        ({"crop_ratio": (2.0, 1.0)}, "augment.crop_ratio="),
        ({"brightness": -0.1}, "augment.brightness=-0.1; expected at least 0"),
        ({"hue": 0.6}, "augment.hue=0.6; expected 0 to 0.5"),
        ({"erase": 1.1}, "augment.erase=1.1; expected 0 to 1"),
        ({"size": 8}, "augment.size=8 is of random parts, and there are none"),
        ({"size": 0, "crop_scale": (0.5, 1.0)}, "augment.size=0; expected a whole number"),
    ],
)
def test_what_makes_no_sense_is_refused(options, words):
    with pytest.raises(FewshotError, match=words):
        ImageAugment(**options)


def test_training_images_are_changed_before_they_are_normalised():
    items = torch.randint(0, 256, (40, 3, 8, 8), dtype=torch.uint8, generator=generator())
    index, mean, std = torch.tensor([3, 1, 7]), (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    seen = []

    def augment(images, numbers):
        seen.append((images.clone(), torch.rand(2, generator=numbers)))
        return images.flip(3)

    out = training_images(items, index, mean, std, augment, seed=5)
    torch.testing.assert_close(seen[0][0], items[index] / 255)
    assert torch.equal(seen[0][1], torch.rand(2, generator=generator(5)))
    torch.testing.assert_close(out, gather_images(items, index, mean, std).flip(3))


@pytest.mark.parametrize(
    "options",
    [
        {"shift": 2, "flip": True, "brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "jitter": 0.5},
        {"vertical_flip": True, "crop_scale": (0.3, 1.0), "hue": 0.2, "grey": 0.3, "erase": 0.5},
        {"crop_scale": (0.3, 1.0), "size": 9, "flip": True, "contrast": 0.4, "dropout": 0.2, "erase": 0.5},
        {"contrast": 0.4, "dropout": 0.2},
        {},
    ],
)
@pytest.mark.parametrize("channels_last", [False, True])
def test_images_a_few_at_a_time_and_moved_as_bytes_are_those_changed_at_once(options, channels_last):
    items = torch.randint(0, 256, (40, 3, 20, 24), dtype=torch.uint8, generator=generator())
    index, mean, std = torch.arange(0, 400, 3) % 40, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    augment = ImageAugment(**options)
    images = items[index].float() / 255
    changed = augment(images, generator(5))
    assert torch.equal(images, items[index].float() / 255)
    expected = (changed - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    found = training_images(items, index, mean, std, augment, seed=5, channels_last=channels_last)
    torch.testing.assert_close(found, expected)
    assert not channels_last or found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("count", [0, 1, 700])
def test_gathering_in_chunks_equals_gathering_at_once_also_into_a_buffer(count):
    items = torch.randint(0, 256, (40, 3, 20, 20), dtype=torch.uint8, generator=generator())
    index = torch.randint(0, 40, (count,), generator=generator(1))
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    expected = (items[index] / 255 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    torch.testing.assert_close(gather_images(items, index, mean, std), expected)
    out = torch.empty(count, 3, 20, 20).to(memory_format=torch.channels_last)
    assert gather_images(items, index, mean, std, out=out) is out
    torch.testing.assert_close(out, expected)
