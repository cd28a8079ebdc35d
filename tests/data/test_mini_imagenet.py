import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fewshot.cli.data import main
from fewshot.data.manifest import class_list, file_list, manifest
from fewshot.data.mini_imagenet import MiniImageNet
from fewshot.errors import FewshotError

from .conftest import MINI, PER_CLASS, noise, picture

REAL = Path(__file__).parents[2] / "data" / "raw" / "mini-imagenet"
KEYS = {line.split()[0]: split for split, classes in MINI.items() for line in classes}


def photo(key: str, number: int, side: int = 84) -> np.ndarray:
    return noise(1000 * list(KEYS).index(key) + number, side, side)


def pickles(root):
    base = root / "mini-imagenet"
    base.mkdir(parents=True)
    for split in MINI:
        keys = sorted(key for key in KEYS if KEYS[key] == split)
        rows = {key: list(range(i * PER_CLASS, (i + 1) * PER_CLASS)) for i, key in enumerate(keys)}
        images = np.stack([photo(key, i) for key in keys for i in range(PER_CLASS)])
        with open(base / f"mini-imagenet-cache-{split}.pkl", "wb") as file:
            pickle.dump({"image_data": images, "class_dict": rows}, file, protocol=2)


def jpegs(root):
    for key in KEYS:
        for i in range(PER_CLASS):
            picture(root / f"mini-imagenet/images/{key}{i:08d}.jpg", photo(key, i))
    for split in MINI:
        lines = [f"{k}{i:08d}.jpg,{k}" for k in KEYS if KEYS[k] == split for i in range(PER_CLASS)]
        (root / f"mini-imagenet/{split}.csv").write_text("\n".join(["filename,label", *lines]))


def split_folders(root):
    for key, split in KEYS.items():
        for i in range(PER_CLASS):
            picture(root / "miniImageNet" / split / key / f"{i}.png", photo(key, i))


def flat_folders(root):
    for key in KEYS:
        for i in range(PER_CLASS):
            picture(root / key / f"{i}.jpg", photo(key, i, 120))
    (root / "splits").mkdir()


def imagenet(root):
    for key in [*KEYS, "n01440764"]:
        for i in range(9):
            picture(root / f"imagenet/train/{key}/{key}_{7 * i}.JPEG", noise(int(key[1:]) + i, 100 + 10 * i, 130))


def mini(tmp_path, **options):
    return MiniImageNet(tmp_path / "raw", tmp_path / "prepared", **({"workers": 1} | options))


LAYOUTS = [
    (pickles, "ravi84"),
    (jpegs, "ravi84"),
    (split_folders, "ravi84"),
    (flat_folders, "ravi84 from originals"),
    (imagenet, "ravi84 from originals"),
]


@pytest.mark.parametrize(("layout", "pipeline"), LAYOUTS, ids=[layout.__name__ for layout, _ in LAYOUTS])
def test_each_layout_gives_the_classes_of_the_manifest(tmp_path, manifests, layout, pipeline):
    layout(tmp_path / "raw")
    for split, classes in MINI.items():
        bank = mini(tmp_path).bank(split)
        assert bank.class_names == tuple(classes)
        assert bank.counts.tolist() == [PER_CLASS] * len(classes)
        assert bank.items.shape[1:] == (3, 84, 84)
        assert (bank.name, bank.split, bank.pipeline) == ("mini_imagenet", split, pipeline)
        audit = mini(tmp_path).audit(split)
        assert (audit.missing, audit.extra, audit.unreadable) == ([], [], [])


@pytest.mark.parametrize("layout", [pickles, split_folders])
def test_pixels_of_84px_copies_are_taken_as_they_are(tmp_path, manifests, layout):
    layout(tmp_path / "raw")
    bank = mini(tmp_path).bank("train")
    for label, name in enumerate(MINI["train"]):
        for i in range(PER_CLASS):
            item = bank.items[label * PER_CLASS + i]
            assert np.array_equal(item.permute(1, 2, 0).numpy(), photo(name.split()[0], i))


def test_pickles_and_folders_of_the_same_images_are_the_same_bank(tmp_path, manifests):
    pickles(tmp_path / "raw")
    split_folders(tmp_path / "other" / "raw")
    one, other = mini(tmp_path).bank("train"), mini(tmp_path / "other").bank("train")
    assert one.fingerprint == other.fingerprint


def test_imagenet_gives_the_listed_images_alone(tmp_path, manifests):
    imagenet(tmp_path / "raw")
    bank = mini(tmp_path, pipeline="chen").bank("test")
    assert bank.pipeline == "chen"
    key = "n01930112"
    files = sorted(
        (f"{key}_{7 * i}.JPEG" for i in range(PER_CLASS)), key=file_list("mini_imagenet", "files_ilsvrc")[key].index
    )
    for item, name in zip(bank.items, files, strict=True):
        # As torchvision does it: Resize([96, 96]), CenterCrop(84).
        with Image.open(tmp_path / "raw/imagenet/train" / key / name) as image:
            expected = np.asarray(image.convert("RGB").resize((96, 96), Image.Resampling.BILINEAR))[6:90, 6:90]
        assert np.array_equal(item.permute(1, 2, 0).numpy(), expected)


def test_a_layout_can_be_chosen_where_there_are_two(tmp_path, manifests):
    pickles(tmp_path / "raw")
    imagenet(tmp_path / "raw")
    assert mini(tmp_path, pipeline="simpleshot").bank("test").pipeline == "simpleshot from 84px"
    assert mini(tmp_path, pipeline="simpleshot", layout="imagenet").bank("test").pipeline == "simpleshot"
    with pytest.raises(FewshotError, match=r"mini_imagenet is not in .*raw: it has no official address"):
        mini(tmp_path, layout="jpegs").bank("test")


def test_what_is_missing_is_named_and_extra_files_are_left_out(tmp_path, manifests):
    jpegs(tmp_path / "raw")
    images = tmp_path / "raw/mini-imagenet/images"
    shutil.copy(images / "n0193011200000001.jpg", images / "mine.jpg")
    assert len(mini(tmp_path).bank("test")) == PER_CLASS
    assert mini(tmp_path).audit("test").extra == ["mine.jpg"]
    (images / "n0388860500000002.jpg").unlink()
    with pytest.raises(FewshotError, match=r"lacks n0388860500000002\.jpg; unpack it again"):
        mini(tmp_path).bank("train")
    (images / "n0353578000000001.jpg").write_bytes(b"\xff\xd8\xff\xe0 no jpeg")
    audit = mini(tmp_path).audit("val")
    assert audit.missing == []
    assert len(audit.unreadable) == 1
    assert "n0353578000000001.jpg" in audit.unreadable[0]
    with pytest.raises(FewshotError, match=r"1 image cannot be read: .*n0353578000000001\.jpg"):
        mini(tmp_path).bank("val")
    assert not mini(tmp_path).is_prepared("val")


def test_a_class_with_too_many_images_is_another_data_set(tmp_path, manifests):
    split_folders(tmp_path / "raw")
    picture(tmp_path / "raw/miniImageNet/test/n01930112/more.png", photo("n01930112", 9))
    with pytest.raises(FewshotError, match=r"n01930112 has 5 images instead of 4; .* data=folder"):
        mini(tmp_path).bank("test")


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ({"image_data": np.zeros((4, 32, 32, 3), np.uint8), "class_dict": {}}, r"uint8 \[4, 32, 32, 3\]; expected"),
        ({"image_data": np.zeros((4, 84, 84, 3), np.uint8), "class_dict": {"n01930112": [0, 1, 2, 9]}}, "rows that are not there"),
        ({"image_data": np.zeros((4, 84, 84, 3), np.uint8), "class_dict": {"n01930112": [0, 1, 1, 2]}}, "one twice"),
        ({"image_data": np.zeros((4, 84, 84, 3), np.uint8), "class_dict": {"n01930112": [0, 1]}}, "lacks 2 of 4 images"),
        ([1, 2], "no mini-ImageNet cache"),
    ],
)  # fmt: skip
def test_another_pickle_is_refused(tmp_path, manifests, content, word):
    pickles(tmp_path / "raw")
    (tmp_path / "raw/mini-imagenet/mini-imagenet-cache-test.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(FewshotError, match=word):
        mini(tmp_path).bank("test")


def test_pictures_of_val_and_test_can_be_kept_out_of_train(tmp_path, manifests):
    jpegs(tmp_path / "raw")
    images = tmp_path / "raw/mini-imagenet/images"
    for i in range(2):
        shutil.copy(images / f"n035357800000000{i}.jpg", images / f"n038886050000000{i}.jpg")
    plain, without = mini(tmp_path).bank("train"), mini(tmp_path, exclude_duplicates=True).bank("train")
    assert plain.counts.tolist() == [4, 4]
    assert without.counts.tolist() == [2, 4]
    assert without.pipeline == "ravi84 without duplicates"
    assert torch.equal(without.items, plain.items[2:])
    # Nothing is taken out of the test split, so its rows compare.
    assert mini(tmp_path, exclude_duplicates=True).folder("test") == mini(tmp_path).folder("test")


def test_a_forced_command_leaves_out_what_the_other_splits_have_now(tmp_path, manifests):
    jpegs(tmp_path / "raw")
    places = [f"root={tmp_path}/raw", f"prepared={tmp_path}/prepared"]
    command = ["prepare", "mini_imagenet", *places, "exclude_duplicates=true"]
    main(command)
    images = tmp_path / "raw/mini-imagenet/images"
    shutil.copy(images / "n0388860500000000.jpg", images / "n0193011200000000.jpg")
    main([*command, "--force"])
    assert mini(tmp_path, exclude_duplicates=True).bank("train").counts.tolist() == [3, 4]


@pytest.mark.parametrize("options", [{"layout": "tar"}, {"pipeline": "ravi"}, {"split": "vinyals"}, {"workers": 0}, {"exclude_duplicates": "yes"}])  # fmt: skip
def test_unknown_choices_are_refused(options):
    with pytest.raises(FewshotError, match=f"data.{next(iter(options))}="):
        MiniImageNet(**options)


def test_lists_are_those_of_ravi_and_larochelle():
    facts = manifest("mini_imagenet")
    lists = {split: class_list("mini_imagenet", f"ravi_{split}") for split in ("train", "val", "test")}
    assert {split: len(names) for split, names in lists.items()} == facts["classes"]["ravi"]
    keys = [line.split()[0] for names in lists.values() for line in names]
    assert len(set(keys)) == 100
    for part in ("files_ravi", "files_ilsvrc"):
        files = file_list("mini_imagenet", part)
        assert set(files) == set(keys)
        assert {len(set(names)) for names in files.values()} == {facts["images_per_class"]}


@pytest.mark.skipif(not REAL.is_dir(), reason="the real images are not in data/raw/mini-imagenet")
def test_raw_pixels_of_the_real_test_split_are_as_good_as_published(tmp_path):
    from fewshot.backbones.pixels import Pixels
    from fewshot.episodes.protocol import Protocol
    from fewshot.evaluation.scoring import evaluate
    from fewshot.heads.prototype import PrototypeHead
    from fewshot.learners.metric_learner import MetricLearner
    from fewshot.losses.cross_entropy import CrossEntropy

    bank = MiniImageNet(REAL.parent, tmp_path).bank("test")
    assert bank.counts.tolist() == [600] * 20
    learner = MetricLearner(Pixels(channels=3, image_size=84), PrototypeHead(), CrossEntropy())
    assert 21 < evaluate(learner, bank, Protocol(way=5, shot=1, query=15, episodes=500)).accuracy < 27


@pytest.mark.parametrize("layout", [jpegs, imagenet])
def test_the_first_class_that_is_missing_is_named_and_hides_nothing(tmp_path, manifests, layout):
    layout(tmp_path / "raw")
    first = mini(tmp_path).classes("train")[0].partition(" ")[0]
    for path in [*(tmp_path / "raw").rglob(f"{first}*.*")]:
        path.unlink()
    for path in [*(tmp_path / "raw").rglob(first)]:
        path.rmdir()
    with pytest.raises(FewshotError, match=f"mini_imagenet/train in .* lacks {first}"):
        mini(tmp_path).bank("train")
    assert mini(tmp_path).bank("val").num_classes > 0


def test_banks_of_other_options_are_other_banks(tmp_path):
    folders = [
        mini(tmp_path).folder("train"),
        mini(tmp_path).folder("val"),
        mini(tmp_path, pipeline="chen").folder("train"),
        mini(tmp_path, exclude_duplicates=True).folder("train"),
    ]
    assert len(set(folders)) == 4
