import numpy as np
import pytest
import torch
from PIL import Image

from fewshot.data.folder import ImageFolder
from fewshot.errors import FewshotError


def picture(path, size=(30, 20), colour=(200, 100, 50)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


@pytest.fixture
def root(tmp_path):
    for split, names in (("train", ("b", "a ü'", "c")), ("test", ("x", "y"))):
        for i, name in enumerate(names):
            for j in range(3):
                picture(tmp_path / "raw" / split / name / f"{j}.{'png' if j else 'JPG'}", colour=(50 * i, 10 * j, 0))
    (tmp_path / "raw" / "train" / "b" / "notes.txt").write_text("no image")
    return tmp_path / "raw"


def folder(root, **options):
    return ImageFolder(root, root.parent / "prepared", **({"size": 8} | options))


def test_class_folders_become_classes_in_order_of_name(root):
    dataset = folder(root)
    assert dataset.splits == ("train", "test")
    bank = dataset.bank("train")
    assert bank.class_names == ("a ü'", "b", "c")
    assert bank.items.shape == (9, 3, 8, 8)
    assert bank.items[4, :, 4, 4].tolist() == [0, 10, 0]
    assert folder(root, channels=1).bank("test").items.shape == (6, 1, 8, 8)


def test_csvs_do_the_same(root):
    flat = root.parent / "flat"
    lines = ["filename,label"]
    for path in sorted((root / "train").rglob("*.*")):
        if path.suffix != ".txt":
            name = f"{path.parent.name}-{path.name}"
            (flat / "images").mkdir(parents=True, exist_ok=True)
            (flat / "images" / name).write_bytes(path.read_bytes())
            lines.append(f"{name},{path.parent.name}")
    (flat / "train.csv").write_text("\n".join(lines))
    assert folder(flat, name="flat").bank("train").fingerprint == folder(root).bank("train").fingerprint


def test_crop_keeps_proportions_and_squash_does_not(tmp_path):
    stripes = np.zeros((20, 40, 3), dtype=np.uint8)
    stripes[:, 10:30] = 255
    (tmp_path / "raw/test/k").mkdir(parents=True)
    Image.fromarray(stripes).save(tmp_path / "raw/test/k/0.png")
    assert folder(tmp_path / "raw").bank("test").items.min() > 200
    squashed = folder(tmp_path / "raw", resize="squash").bank("test").items
    assert (squashed[..., 0] == 0).all()
    assert (squashed[..., 4] == 255).all()


def test_changed_files_are_prepared_again(root):
    before = folder(root).bank("test").fingerprint
    picture(root / "test" / "x" / "new.png", colour=(1, 2, 3))
    assert folder(root).bank("test").fingerprint != before


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (lambda root: (root / "train/c/1.png").write_bytes(b"no image"), "1.png"),
        (lambda root: (root / "train/empty").mkdir(), "'empty'"),
    ],
)
def test_what_cannot_be_used_is_named(root, damage, word):
    damage(root)
    with pytest.raises(FewshotError, match=word):
        folder(root).bank("train")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("a,b\n1,2\n", "columns"),
        ("", "columns"),
        ("filename,label\n", "no classes"),
        ("filename,label\ngone.png,x\n", "line 2: 'gone.png'"),
        ("filename,label\nx.png\n", "line 2: filename or label is empty"),
        ("filename,label\nx.png,é\n", "UTF-8"),
    ],
)
def test_a_bad_csv_is_named(tmp_path, text, word):
    (tmp_path / "test.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(FewshotError, match=word):
        folder(tmp_path).bank("test")


def test_an_empty_root_says_what_was_expected(tmp_path):
    with pytest.raises(FewshotError, match="neither train/ val/ test/ folders"):
        folder(tmp_path).bank("test")


def test_a_csv_from_a_spreadsheet_is_read(tmp_path):
    picture(tmp_path / "a.png")
    (tmp_path / "test.csv").write_text("filename,label\r\na.png,ä\r\n", encoding="utf-8-sig", newline="")
    assert folder(tmp_path).bank("test").class_names == ("ä",)


def test_deep_grey_images_keep_their_shades(tmp_path):
    (tmp_path / "raw/test/k").mkdir(parents=True)
    Image.fromarray(np.linspace(0, 65535, 64).reshape(8, 8).astype(np.uint16)).save(tmp_path / "raw/test/k/0.png")
    items = folder(tmp_path / "raw", channels=1).bank("test").items.flatten().tolist()
    assert items == [int(v) >> 8 for v in np.linspace(0, 65535, 64)]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_lies_on_white(tmp_path, mode, channels):
    # Black strokes: all pixels are black, the alpha alone is a drawing.
    strokes = np.zeros((8, 8), dtype=np.uint8)
    strokes[2:6, 3] = 255
    drawing = Image.merge("LA", [Image.new("L", (8, 8)), Image.fromarray(strokes)])
    place = tmp_path / "raw/test/k/0.png"
    place.parent.mkdir(parents=True)
    if mode == "P":
        indexed = Image.fromarray((strokes == 0).astype(np.uint8), "P")
        indexed.putpalette([0] * 6)
        indexed.save(place, transparency=1)
    else:
        drawing.convert(mode).save(place)
    items = folder(tmp_path / "raw", channels=channels).bank("test").items
    assert items.shape[1] == channels
    assert (items[0] == torch.from_numpy(255 - strokes)).all()


@pytest.mark.parametrize("options", [{"mean": [0.1]}, {"std": [1, 1, 0]}, {"mean": "abc"}, {"mean": [127.5] * 3}, {"std": [70.0] * 3}, {"mean": [float("nan")] * 3}, {"std": [float("inf")] * 3}])  # fmt: skip
def test_statistics_that_do_not_fit_the_channels_are_refused(tmp_path, options):
    with pytest.raises(FewshotError, match=f"data.{next(iter(options))}="):
        folder(tmp_path, **options)


def test_an_image_listed_twice_is_refused(tmp_path):
    picture(tmp_path / "images" / "a.png")
    (tmp_path / "test.csv").write_text("filename,label\na.png,x\na.png,x\n")
    with pytest.raises(FewshotError, match=r"a\.png more than once"):
        folder(tmp_path).bank("test")


@pytest.mark.parametrize("options", [{"channels": 2}, {"size": 0}, {"resize": "stretch"}, {"name": "a/b"}])
def test_impossible_arguments_are_refused(tmp_path, options):
    with pytest.raises(FewshotError, match=str(next(iter(options.values())))):
        folder(tmp_path, **options)
