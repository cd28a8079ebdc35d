import pytest
import torch

from fewshot.augment.image_augment import ImageAugment
from fewshot.augment.pixels import gather_images
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


def test_channels_move_together():
    x = torch.rand(50, 1, 8, 8).repeat(1, 3, 1, 1)
    out = ImageAugment(shift=2, flip=True)(x, generator())
    assert torch.equal(out[:, 0], out[:, 1])
    assert torch.equal(out[:, 0], out[:, 2])


def test_a_negative_shift_is_refused():
    with pytest.raises(FewshotError, match="shift=-1"):
        ImageAugment(shift=-1)


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
