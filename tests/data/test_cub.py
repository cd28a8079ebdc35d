import tarfile

import numpy as np
import pytest
from PIL import Image

from fewshot.data.cub import CUB
from fewshot.data.manifest import class_list, file_list, manifest
from fewshot.errors import FewshotError

from .conftest import BIRDS, PER_CLASS, noise, picture

NAMES = sorted(name for names in BIRDS.values() for name in names)


def edition_2011(root):
    """The tree that CUB_200_2011.tgz unpacks to."""
    base = root / "CUB_200_2011"
    lines, boxes = [], []
    for label, name in enumerate(NAMES):
        for i in range(PER_CLASS):
            number = len(lines) + 1
            file = f"{name}/{name[4:]}_{i:04d}_{name[:3]}.jpg"
            pixels = noise(100 * label + i, 90 + 10 * i, 120).copy()
            # A white square where the box is.
            pixels[20:60, 30:80] = 255
            picture(base / "images" / file, pixels)
            lines.append(f"{number} {file}")
            boxes.append(f"{number} 30.0 20.0 50.0 40.0")
    (base / "images.txt").write_text("\n".join(lines) + "\n")
    (base / "bounding_boxes.txt").write_text("\n".join(boxes) + "\n")
    tables(base)
    (root / "attributes.txt").write_text("1 has_bill_shape::curved_(up_or_down)\n")


def edition_2010(root):
    for label, name in enumerate(NAMES):
        for i in range(PER_CLASS):
            picture(root / "CUB_200_2010/images" / name / f"{i}.jpg", noise(100 * label + i, 96, 110))
    tables(root / "CUB_200_2010")


def tables(base):
    # The species in an order of their own: rows are found by name, not by place.
    order = NAMES[::-1]
    (base / "classes.txt").write_text("".join(f"{i} {name}\n" for i, name in enumerate(order, start=1)))
    (base / "attributes").mkdir()
    (base / "attributes/class_attribute_labels_continuous.txt").write_text(
        "".join(" ".join(f"{NAMES.index(name)}.{j:03d}" for j in range(312)) + "\n" for name in order)
    )


def cub(tmp_path, **options):
    return CUB(tmp_path / "raw", tmp_path / "prepared", **({"workers": 1} | options))


@pytest.mark.parametrize(("layout", "edition", "name"), [(edition_2011, 2011, "cub"), (edition_2010, 2010, "cub2010")])
def test_each_edition_gives_its_classes_with_their_attributes(tmp_path, manifests, layout, edition, name):
    layout(tmp_path / "raw")
    for split, names in BIRDS.items():
        bank = cub(tmp_path, edition=edition).bank(split)
        assert bank.class_names == tuple(names)
        assert bank.counts.tolist() == [PER_CLASS] * len(names)
        assert (bank.name, bank.pipeline, bank.items.shape[1:]) == (name, "chen", (3, 84, 84))
        assert bank.class_attributes.shape == (len(names), 312)
        assert bank.class_attributes.floor()[:, 7].tolist() == [NAMES.index(n) for n in names]
        audit = cub(tmp_path, edition=edition).audit(split)
        assert (audit.missing, audit.extra, audit.unreadable) == ([], [], [])


def test_the_archive_is_unpacked(tmp_path, manifests):
    edition_2011(tmp_path / "tree")
    (tmp_path / "raw").mkdir()
    with tarfile.open(tmp_path / "raw/CUB_200_2011.tgz", "w:gz") as file:
        for part in ("CUB_200_2011", "attributes.txt"):
            file.add(tmp_path / "tree" / part, part)
    assert cub(tmp_path).bank("test").class_names == ("004.Blackbird",)


def test_224_pixels_and_boxes(tmp_path, manifests):
    edition_2011(tmp_path / "raw")
    bank = cub(tmp_path, pipeline="chen224").bank("test")
    assert (bank.pipeline, bank.items.shape[1:]) == ("chen224", (3, 224, 224))
    assert bank.items.min() < 200
    boxed = cub(tmp_path, crop_box=True).bank("test")
    assert boxed.pipeline == "chen in box"
    # JPEG leaves traces of the surroundings at the edges of the white box.
    assert boxed.items[:, :, 8:-8, 8:-8].min() > 240


def test_the_split_of_easyfsl_is_another_one(tmp_path, manifests):
    for split, names in (("train", NAMES[:2]), ("val", NAMES[2:3]), ("test", NAMES[3:])):
        (manifests / "cub" / f"easyfsl_{split}.txt").write_text("".join(f"{name}\n" for name in names))
    edition_2011(tmp_path / "raw")
    bank = cub(tmp_path, split="easyfsl").bank("train")
    assert (bank.class_names, bank.split) == (tuple(NAMES[:2]), "easyfsl-train")


def test_the_editions_are_not_taken_for_each_other(tmp_path, manifests):
    edition_2010(tmp_path / "raw")
    with pytest.raises(
        FewshotError, match=r"has the 2010 edition, not that of 2011; choose it with data\.edition=2010"
    ):
        cub(tmp_path).bank("test")
    with pytest.raises(FewshotError, match=r"needs the 2011 edition"):
        cub(tmp_path, edition=2010, crop_box=True)
    assert cub(tmp_path, edition=2010).known_duplicates() != cub(tmp_path).known_duplicates() == []


def test_missing_attributes_can_be_done_without(tmp_path, manifests):
    edition_2011(tmp_path / "raw")
    (tmp_path / "raw/CUB_200_2011/attributes/class_attribute_labels_continuous.txt").unlink()
    with pytest.raises(
        FewshotError, match=r"class_attribute_labels_continuous\.txt cannot be read .* data\.attributes=false"
    ):
        cub(tmp_path).bank("test")
    assert cub(tmp_path, attributes=False).bank("test").class_attributes is None


def test_a_missing_photo_is_named(tmp_path, manifests):
    edition_2011(tmp_path / "raw")
    (tmp_path / "raw/CUB_200_2011/images/004.Blackbird/Blackbird_0002_004.jpg").unlink()
    with pytest.raises(FewshotError, match=r"lacks 004\.Blackbird/Blackbird_0002_004\.jpg"):
        cub(tmp_path).bank("test")


@pytest.mark.parametrize("options", [{"edition": 2012}, {"split": "cub"}, {"pipeline": "chen448"}])
def test_unknown_choices_are_refused(options):
    with pytest.raises(FewshotError, match=f"data.{next(iter(options))}="):
        CUB(**options)


def test_lists_are_the_published_ones():
    facts = manifest("cub")
    files = file_list("cub", "files_2011")
    assert sum(map(len, files.values())) == facts["images"][2011]
    counts = [int(line.split()[1]) for line in class_list("cub", "counts_2010")]
    assert (len(counts), sum(counts)) == (200, facts["images"][2010])
    for scheme, sizes in facts["classes"].items():
        lists = {split: class_list("cub", f"{scheme}_{split}") for split in sizes}
        assert {split: len(names) for split, names in lists.items()} == sizes
        assert sorted(name for names in lists.values() for name in names) == sorted(files)
    # CloserLook's rule: by number, every second for training, the others in turn.
    numbers = [int(name[:3]) - 1 for name in class_list("cub", "closerlook_test")]
    assert {number % 4 for number in numbers} == {3}


def test_a_grey_photo_becomes_rgb(tmp_path, manifests):
    edition_2011(tmp_path / "raw")
    path = tmp_path / "raw/CUB_200_2011/images/004.Blackbird/Blackbird_0000_004.jpg"
    Image.fromarray(noise(1, 90, 90)[..., 0]).save(path)
    first = cub(tmp_path).bank("test").items[0].numpy()
    assert np.array_equal(first[0], first[1])


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("bounding_boxes.txt", lambda lines: lines[:-1]),
        ("images.txt", lambda lines: lines[:-1]),
        ("bounding_boxes.txt", lambda lines: [*lines[:-1], lines[-1].replace("30.0", "left")]),
        (
            "attributes/class_attribute_labels_continuous.txt",
            lambda lines: [*lines[:-1], lines[-1].replace(".005", ".x05")],
        ),
    ],
)
def test_damaged_tables_are_one_line(tmp_path, manifests, table, change):
    edition_2011(tmp_path / "raw")
    path = tmp_path / "raw/CUB_200_2011" / table
    path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")

    def every_bank():
        for split in BIRDS:
            cub(tmp_path, crop_box=True).bank(split)

    with pytest.raises(FewshotError, match=r"cub: a table or pickle in .* is damaged") as caught:
        every_bank()
    assert "\n" not in str(caught.value)
