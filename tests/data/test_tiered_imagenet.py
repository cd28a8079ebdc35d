import pytest

from fewshot.data.manifest import class_list, manifest
from fewshot.data.tiered_imagenet import TieredImageNet
from fewshot.errors import FewshotError

from .conftest import MINI, noise, picture

COUNTS = {"n03888605": 4, "n01532829": 5, "n03535780": 5, "n01930112": 3}


def imagenet(root, where="imagenet/train"):
    for key, count in [*COUNTS.items(), ("n01440764", 2)]:
        for i in range(count):
            picture(root / where / key / f"{key}_{i}.JPEG", noise(int(key[1:]) + i, 100 + 10 * i, 130))


def copies(root):
    for split, classes in MINI.items():
        for key in (line.split()[0] for line in classes):
            for i in range(COUNTS[key]):
                picture(root / "tiered-imagenet" / split / key / f"{i}.jpg", noise(int(key[1:]) + i, 84, 84))


def tiered(tmp_path, **options):
    return TieredImageNet(tmp_path / "raw", tmp_path / "prepared", **({"workers": 1} | options))


@pytest.mark.parametrize(("layout", "pipeline"), [(imagenet, "ravi84 from originals"), (copies, "ravi84")])
def test_each_layout_gives_the_classes_of_the_manifest(tmp_path, manifests, layout, pipeline):
    layout(tmp_path / "raw")
    for split, classes in MINI.items():
        bank = tiered(tmp_path).bank(split)
        assert bank.class_names == tuple(classes)
        assert bank.counts.tolist() == [COUNTS[line.split()[0]] for line in classes]
        assert (bank.name, bank.pipeline) == ("tiered_imagenet", pipeline)


def test_the_folders_of_the_ilsvrc_archives_are_found(tmp_path, manifests):
    imagenet(tmp_path / "raw", "ILSVRC/Data/CLS-LOC/train")
    assert tiered(tmp_path, pipeline="msenet").bank("test").pipeline == "msenet"


def test_missing_images_and_classes_are_counted(tmp_path, manifests):
    imagenet(tmp_path / "raw")
    (tmp_path / "raw/imagenet/train/n01532829/n01532829_3.JPEG").unlink()
    with pytest.raises(FewshotError, match="lacks 1 of 9 images"):
        tiered(tmp_path).bank("train")
    (tmp_path / "raw/imagenet/train/n03888605").rename(tmp_path / "gone")
    with pytest.raises(FewshotError, match="lacks n03888605, 5 of 9 images"):
        tiered(tmp_path).bank("train")


def test_lists_are_the_published_ones():
    facts = manifest("tiered_imagenet")
    lists = {split: class_list("tiered_imagenet", f"ren_{split}") for split in ("train", "val", "test")}
    assert {split: len(names) for split, names in lists.items()} == facts["classes"]["ren"]
    keys = [line.split()[0] for names in lists.values() for line in names]
    assert len(set(keys)) == 608
    assert sum(facts["images"].values()) == 779165
