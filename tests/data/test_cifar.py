import pickle
import tarfile

import numpy as np
import pytest

from fewshot.data.cifar import CIFARFS, FC100
from fewshot.data.manifest import class_list, manifest
from fewshot.errors import FewshotError

from .conftest import PER_CLASS, THINGS, noise, picture

NAMES = sorted(name for names in THINGS.values() for name in names)


def file_name(name, number):
    # Such names are not in the order of the images in the batches.
    return f"{name}_s_{(7 * number) % 10:06d}.png"


def thing(name, number):
    return noise(100 * NAMES.index(name) + number, 32, 32)


def class_folders(root):
    for name in NAMES:
        for i in range(PER_CLASS):
            picture(root / "cifar-fs/data" / name / file_name(name, i), thing(name, i))


def batches(root):
    """cifar-100-python as torchvision unpacks it: three of four images of a class in train, the last in test."""
    base = root / "cifar-100-python"
    base.mkdir(parents=True)
    (base / "meta").write_bytes(pickle.dumps({"fine_label_names": NAMES, "coarse_label_names": []}, protocol=2))
    for part, numbers in (("train", range(PER_CLASS - 1)), ("test", [PER_CLASS - 1])):
        chosen = [(name, i) for i in numbers for name in NAMES]
        data = np.stack([thing(name, i).transpose(2, 0, 1).ravel() for name, i in chosen])
        content = {
            "data": data,
            "fine_labels": [NAMES.index(name) for name, _ in chosen],
            "coarse_labels": [0] * len(chosen),
            "filenames": [file_name(name, i) for name, i in chosen],
            "batch_label": part,
        }
        (base / part).write_bytes(pickle.dumps(content, protocol=2))


@pytest.fixture(params=[CIFARFS, FC100])
def kind(request):
    return request.param


def cifar(kind, tmp_path, **options):
    return kind(tmp_path / "raw", tmp_path / "prepared", **({"workers": 1, "download": False} | options))


@pytest.mark.parametrize("layout", [class_folders, batches])
def test_each_layout_gives_the_classes_of_the_manifest(tmp_path, manifests, kind, layout):
    layout(tmp_path / "raw")
    for split, names in THINGS.items():
        bank = cifar(kind, tmp_path).bank(split)
        assert bank.class_names == tuple(sorted(names))
        assert bank.counts.tolist() == [PER_CLASS] * len(names)
        assert (bank.name, bank.pipeline, bank.items.shape[1:]) == (kind.name, "cifar32", (3, 32, 32))
        order = sorted(range(PER_CLASS), key=lambda i: file_name("man", i))
        for item, i in zip(bank.items, order, strict=False):
            assert np.array_equal(item.permute(1, 2, 0).numpy(), thing(bank.class_names[0], i))


def test_both_layouts_are_the_same_bank(tmp_path, manifests, kind):
    class_folders(tmp_path / "raw")
    batches(tmp_path / "other" / "raw")
    one, other = cifar(kind, tmp_path).bank("train"), cifar(kind, tmp_path / "other").bank("train")
    assert one.fingerprint == other.fingerprint


def test_the_archive_is_unpacked(tmp_path, manifests, kind):
    batches(tmp_path / "tree")
    (tmp_path / "raw").mkdir()
    with tarfile.open(tmp_path / "raw/cifar-100-python.tar.gz", "w:gz") as file:
        file.add(tmp_path / "tree/cifar-100-python", "cifar-100-python")
    assert cifar(kind, tmp_path).bank("test").class_names == ("man",)


def test_other_content_is_refused(tmp_path, manifests, kind):
    batches(tmp_path / "raw")
    path = tmp_path / "raw/cifar-100-python/test"
    path.write_bytes(pickle.dumps({"data": np.zeros((4, 5))}))
    with pytest.raises(FewshotError, match="test lacks data, fine_labels, filenames"):
        cifar(kind, tmp_path).bank("test")
    path.write_bytes(pickle.dumps({"data": np.zeros((0, 3072), np.uint8), "fine_labels": [], "filenames": []}))
    with pytest.raises(FewshotError, match="man has 3 images instead of 4"):
        cifar(kind, tmp_path).bank("test")


def test_a_missing_data_set_says_how_to_get_it(tmp_path, manifests, kind):
    with pytest.raises(FewshotError, match=rf"{kind.name} is not in .*raw: set data\.download=true"):
        cifar(kind, tmp_path).bank("test")


def test_lists_are_the_published_ones(kind):
    facts = manifest(kind.name)
    ((scheme, sizes),) = facts["classes"].items()
    lists = {split: class_list(kind.name, f"{scheme}_{split}") for split in sizes}
    assert {split: len(names) for split, names in lists.items()} == sizes
    assert len({name for names in lists.values() for name in names}) == 100
    assert {name for names in lists.values() for name in names} == {
        name for split in ("train", "val", "test") for name in class_list("cifar_fs", f"bertinetto_{split}")
    }
