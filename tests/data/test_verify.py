import shutil

from fewshot.data.folder import ImageFolder
from fewshot.data.mini_imagenet import MiniImageNet
from fewshot.data.verify import verify_dataset

from .conftest import MINI, PER_CLASS, noise, picture


def images(root):
    for line in [line for classes in MINI.values() for line in classes]:
        for i in range(PER_CLASS):
            key = line.split()[0]
            picture(root / "mini-imagenet/images" / f"{key}{i:08d}.jpg", noise(int(key[1:]) + i, 84, 84))
    return root / "mini-imagenet/images"


def test_pictures_in_two_splits_are_named_and_known_ones_marked(tmp_path, manifests):
    folder = images(tmp_path / "raw")
    # Six copies between two classes of which five are known to share pictures, and one that nobody knows.
    shutil.copy(folder / "n0388860500000000.jpg", folder / "n0353578000000001.jpg")
    shutil.copy(folder / "n0153282900000003.jpg", folder / "n0193011200000002.jpg")
    dataset = MiniImageNet(tmp_path / "raw", tmp_path / "prepared", workers=1)
    for split in dataset.splits:
        dataset.prepare(split)
    findings, duplicates = verify_dataset(dataset)
    assert [found.problem for found in findings] == ["", "", ""]
    assert [found.counts for found in findings] == [[4, 4], [4], [4]]
    assert [str(pair) for pair in duplicates] == [
        "train/n03888605 parallel bars, item 0 = val/n03535780 horizontal bar, item 1 (known)",
        "train/n01532829 house finch, item 7 = test/n01930112 nematode, item 2",
    ]


def test_more_copies_than_are_known_are_not_known(tmp_path, manifests):
    folder = images(tmp_path / "raw")
    path = manifests / "mini_imagenet/manifest.yaml"
    path.write_text(path.read_text().replace("- 5", "- 1"))
    for i in range(2):
        shutil.copy(folder / f"n038886050000000{i}.jpg", folder / f"n035357800000000{i}.jpg")
    dataset = MiniImageNet(tmp_path / "raw", tmp_path / "prepared", workers=1)
    for split in dataset.splits:
        dataset.prepare(split)
    assert [pair.known for pair in verify_dataset(dataset, files=False)[1]] == [True, False]


def test_pictures_within_a_split_are_nobodys_business(tmp_path):
    for split, names in (("train", "ab"), ("test", "cd")):
        for name in names:
            picture(tmp_path / "raw" / split / name / "0.png", noise(len(split), 30, 30))
    dataset = ImageFolder(tmp_path / "raw", tmp_path / "prepared", size=8)
    for split in dataset.splits:
        dataset.prepare(split)
    findings, duplicates = verify_dataset(dataset)
    assert duplicates == []
    assert [found.audit.unreadable for found in findings] == [[], []]
