import numpy as np
import pytest
import torch

from fewshot.data.glyph_outlines import font_sha256, outline
from fewshot.data.glyph_raster import FINE, fill, shrink, thicken
from fewshot.data.glyphs import Glyphs, draw_letter
from fewshot.data.manifest import class_list
from fewshot.errors import FewshotError

DEJAVU_2_37 = "3fdf69cabf06049ea70a00b5919340e2ce1e6d02b0cc3c4b44fb6801bd1e0d22"


@pytest.fixture(scope="module")
def banks(tmp_path_factory):
    dataset = Glyphs(prepared=tmp_path_factory.mktemp("prepared"))
    return {split: dataset.bank(split) for split in dataset.splits}


def test_there_are_enough_classes_of_twenty(banks):
    assert [banks[s].num_classes >= n for s, n in (("train", 600), ("val", 100), ("test", 200))] == [True] * 3
    for bank in banks.values():
        assert bank.items.shape[1:] == (1, 28, 28)
        assert set(bank.counts.tolist()) == {20}


def test_no_script_is_in_two_splits():
    scripts = {s: {line.split()[1] for line in class_list("glyphs", s)} for s in ("train", "val", "test")}
    assert scripts["train"].isdisjoint(scripts["val"] | scripts["test"])
    assert scripts["val"].isdisjoint(scripts["test"])


@pytest.mark.parametrize(
    "twins",
    ["AΑАꓮ", "OoΟοОоՕ", "ӚӛӘəә", "ςϛ", "ƄЬь", "Ƈƈ", "ȿⱾ", "ڎڏ", "ᙱᙲ", "CcСсϹ", "IΙІӀlו"],
)
def test_at_most_one_of_letters_that_look_alike_is_a_class(twins):
    classes = {line.split()[0] for split in Glyphs.splits for line in class_list("glyphs", split)}
    assert sum(f"U+{ord(letter):04X}" in classes for letter in twins) <= 1


def test_no_two_classes_of_a_split_look_the_same_on_average(banks):
    for bank in banks.values():
        means = bank.items.view(bank.num_classes, -1, 28 * 28).float().mean(1)
        likeness = torch.corrcoef(means).fill_diagonal_(0)
        assert likeness.max() < 0.96, [bank.class_names[i] for i in divmod(int(likeness.argmax()), bank.num_classes)]


def test_every_drawing_has_ink_inside_a_clean_border(banks):
    for bank in banks.values():
        share = bank.items.float().mean(dim=(1, 2, 3)) / 255
        assert share.min() > 0.005
        assert share.max() < 0.6
        border = torch.cat([bank.items[..., 0, :], bank.items[..., -1, :], bank.items[..., 0], bank.items[..., -1]], -1)
        assert (border.amax(-1) == 0).float().mean() > 0.9
        # Thickening may reach half a pixel into the border, so nothing is ever cut off.
        assert border.max() <= 128


def test_hands_differ_and_classes_differ_more(banks):
    bank = banks["test"]
    drawings = bank.items.view(bank.num_classes, 20, -1).float()
    assert torch.unique(bank.items.flatten(1), dim=0).shape[0] > 0.999 * len(bank)
    within = (drawings - drawings.mean(1, keepdim=True)).square().sum(-1).mean()
    means = drawings.mean(1)
    between = (means - means.mean(0)).square().sum(-1).mean()
    assert between > 0.3 * within


def test_bytes_are_the_same_on_every_machine(banks):
    if font_sha256() != DEJAVU_2_37:
        pytest.skip(f"another version of the font: {font_sha256()}")
    assert {split: bank.fingerprint[:16] for split, bank in banks.items()} == {
        "train": "844885f743cad440",
        "val": "cfb7898d71daaa35",
        "test": "2183fa7ac353b16b",
    }


def test_a_split_does_not_depend_on_what_was_prepared_before(banks, tmp_path):
    # The fixture prepared train first, here nothing comes before val.
    assert Glyphs(prepared=tmp_path).bank("val").fingerprint == banks["val"].fingerprint


def test_another_recipe_gets_another_folder(monkeypatch):
    folders = {Glyphs(hands=hands, seed=seed).folder("val") for hands in (1, 20) for seed in (0, 1)}
    monkeypatch.setattr("fewshot.data.glyphs.font_sha256", lambda: "another font")
    assert len(folders | {Glyphs().folder("val")}) == 5


def test_a_hand_depends_on_letter_and_seed_only():
    assert np.array_equal(draw_letter(0x41, 20, 0)[:5], draw_letter(0x41, 5, 0))
    assert not np.array_equal(draw_letter(0x41, 5, 0), draw_letter(0x41, 5, 1))


def test_filling_a_square_with_a_hole_gives_its_area():
    square = np.array([[2.0, 2.0], [10.0, 2.0], [10.0, 10.0], [2.0, 10.0]])
    hole = np.array([[4.0, 4.0], [4.0, 8.0], [8.0, 8.0], [8.0, 4.0]])
    assert fill([square[None]], 12).sum() == 64 * FINE**2
    assert fill([square[None], hole[None]], 12).sum() == 48 * FINE**2
    # Wound the same way, the inner square is no hole under the nonzero rule.
    assert fill([square[None], hole[None, ::-1]], 12).sum() == 64 * FINE**2


def test_filling_a_disc_comes_near_its_area_wherever_it_lies():
    angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    discs = np.stack([np.stack([8 * np.cos(angle), 8 * np.sin(angle)], -1) + c for c in (14.0, 13.7, 14.33)])
    areas = fill([discs], 28).sum(axis=(1, 2)) / FINE**2
    assert np.allclose(areas, np.pi * 64, rtol=0.01)
    assert shrink(fill([discs], 28)).astype(float).sum(axis=(1, 2)) == pytest.approx(areas * 255, rel=0.01)


def test_thickening_moves_the_edge_by_the_radius_and_thinning_undoes_it():
    square = fill([np.array([[4.0, 4.0], [8.0, 4.0], [8.0, 8.0], [4.0, 8.0]])[None]], 12)
    for radius in (1, 2):
        grown = thicken(square, radius)
        assert grown[0].any(axis=0).sum() == 4 * FINE + 2 * radius
        assert np.array_equal(thicken(grown, -radius), square)


def test_the_letter_o_has_two_contours_and_a_hole():
    assert len(outline(ord("o"))) == 2
    drawing = draw_letter(ord("o"), 1, 3)[0]
    ys, xs = np.nonzero(drawing)
    assert drawing[int(ys.mean().round()), int(xs.mean().round())] == 0


@pytest.mark.parametrize("arguments", [{"hands": 0}, {"seed": -1}, {"hands": "many"}, {"seed": 2**64}])
def test_impossible_arguments_are_refused(arguments):
    with pytest.raises(FewshotError, match=str(next(iter(arguments.values())))):
        Glyphs(**arguments)
