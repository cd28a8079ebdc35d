import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from fewshot.data import streaming
from fewshot.data.folder import ImageFolder
from fewshot.data.photos import photo_files, write_part
from fewshot.data.pipeline import PIPELINES
from fewshot.data.store import open_bank
from fewshot.data.streaming import item_digests, unreadable_images, write_bank
from fewshot.errors import FewshotError

from .conftest import noise, picture

SMALL = PIPELINES["cifar32"]
FACTS = {"name": "photos", "split": "all", "pipeline": "cifar32", "mean": [], "std": []}


@pytest.fixture
def photos(tmp_path):
    return photo_files(
        {
            f"class {c}": [picture(tmp_path / f"{c}/{i}.png", noise(10 * c + i, 40, 50)) for i in range(7)]
            for c in range(3)
        }
    )


@pytest.fixture
def small_parts(monkeypatch):
    """Four images a part, and other processes even for a few images."""
    monkeypatch.setattr(streaming, "_PART_BYTES", 4 * 3 * 32 * 32)
    monkeypatch.setattr(streaming, "_FEW", 0)


def plain(photos):
    """The same images read one after the other."""
    return torch.stack([torch.from_numpy(SMALL.pixels(Image.open(path)).copy()) for path in photos.paths])


@pytest.mark.parametrize("workers", [1, 2])
def test_a_streamed_bank_is_the_one_that_would_be_made_in_memory(tmp_path, photos, small_parts, workers):
    heard = []
    write_bank(tmp_path / "bank", photos, SMALL, FACTS, workers=workers, report=lambda *counts: heard.append(counts))
    bank = open_bank(tmp_path / "bank", check="always")
    assert torch.equal(bank.items, plain(photos))
    assert bank.counts.tolist() == [7, 7, 7]
    assert bank.class_names == ("class 0", "class 1", "class 2")
    assert bank.replacing(_known_fingerprint=None).fingerprint == bank.fingerprint
    assert sorted(heard)[-1] == (21, 21)
    assert {path.name for path in (tmp_path / "bank").iterdir()} >= {"bank.json", "items.npy", "labels.npy"}
    assert not list(tmp_path.glob(".bank*"))


def test_what_is_done_is_not_done_again(tmp_path, photos, small_parts, monkeypatch):
    damaged = photos.paths[9]
    content = damaged.read_bytes()
    damaged.write_bytes(content[:80])
    with pytest.raises(FewshotError, match=r"1 image cannot be read: .*1/2\.png .* what is done stays done"):
        write_bank(tmp_path / "bank", photos, SMALL, FACTS)
    assert not (tmp_path / "bank").exists()
    damaged.write_bytes(content)
    read = []

    def counting(part, *arguments):
        read.extend(part.paths)
        return write_part(part, *arguments)

    monkeypatch.setattr(streaming, "write_part", counting)
    write_bank(tmp_path / "bank", photos, SMALL, FACTS)
    # The one part of four images that had the damaged one in it.
    assert read == photos.paths[8:12]
    assert torch.equal(open_bank(tmp_path / "bank").items, plain(photos))


def test_a_file_that_changed_meanwhile_is_read_again(tmp_path, photos, small_parts):
    content = photos.paths[20].read_bytes()
    photos.paths[20].write_bytes(b"")
    with pytest.raises(FewshotError):
        write_bank(tmp_path / "bank", photos, SMALL, FACTS)
    photos.paths[20].write_bytes(content)
    picture(photos.paths[2], noise(99, 40, 50))
    write_bank(tmp_path / "bank", photos, SMALL, FACTS)
    assert torch.equal(open_bank(tmp_path / "bank").items, plain(photos))


def test_leftovers_of_other_photos_are_not_used(tmp_path, photos, small_parts):
    photos.paths[20].write_bytes(b"")
    with pytest.raises(FewshotError):
        write_bank(tmp_path / "bank", photos, SMALL, FACTS)
    fewer = photo_files({"one": photos.paths[4:8]})
    write_bank(tmp_path / "bank", fewer, SMALL, FACTS)
    assert torch.equal(open_bank(tmp_path / "bank").items, plain(fewer))


def test_all_damaged_images_are_counted_and_the_first_named(tmp_path, photos, small_parts):
    for path in photos.paths[3:8]:
        path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(FewshotError, match=r"5 images cannot be read: .*0/3\.png.* and 2 more") as caught:
        write_bank(tmp_path / "bank", photos, SMALL, FACTS, workers=2)
    assert "\n" not in str(caught.value)
    assert len(unreadable_images(photos, 2)) == 5


def test_a_full_disk_is_told_before_anything_is_written(tmp_path, photos, monkeypatch):
    monkeypatch.setattr(
        streaming.shutil, "disk_usage", lambda _: os.terminal_size((0, 0)) and type("", (), {"free": 10})
    )
    with pytest.raises(FewshotError, match=r"has 0\.0 GB free, the bank needs 0\.0; set data\.prepared"):
        write_bank(tmp_path / "bank", photos, SMALL, FACTS)
    assert not list(tmp_path.glob("*bank*"))


def test_excluded_images_are_left_out_and_no_class_may_be_left_empty(tmp_path, photos):
    write_bank(tmp_path / "all", photos, SMALL, FACTS)
    digests = list(item_digests(tmp_path / "all/items.npy"))
    assert len(set(digests)) == 21
    write_bank(tmp_path / "some", photos, SMALL, FACTS, excluded=set(digests[5:9]))
    bank = open_bank(tmp_path / "some", check="always")
    assert bank.counts.tolist() == [5, 5, 7]
    assert torch.equal(bank.items, torch.cat([plain(photos)[:5], plain(photos)[9:]]))
    assert bank.replacing(_known_fingerprint=None).fingerprint == bank.fingerprint
    with pytest.raises(FewshotError, match="a class has no images left"):
        write_bank(tmp_path / "none", photos, SMALL, FACTS, excluded=set(digests[:7]))


KILLED = """
import os, sys
from fewshot.data import streaming
from fewshot.data.folder import ImageFolder
streaming._PART_BYTES = 4 * 3 * 32 * 32
def report(done, total):
    if done >= 8:
        os.kill(os.getpid(), 9)
ImageFolder(sys.argv[1], sys.argv[2], size=32, workers=1).prepare("test", report=report)
"""


def test_a_killed_preparation_goes_on_where_it_was(tmp_path, photos, small_parts, monkeypatch):
    root, prepared = tmp_path / "raw", tmp_path / "prepared"
    for path in photos.paths:
        (root / "test" / path.parent.name).mkdir(parents=True, exist_ok=True)
        path.rename(root / "test" / path.parent.name / path.name)
    done = subprocess.run([sys.executable, "-c", KILLED, str(root), str(prepared)], check=False)
    assert done.returncode == -9
    dataset = ImageFolder(root, prepared, size=32, workers=1)
    assert not dataset.is_prepared("test")
    heard = []
    dataset.prepare("test", report=lambda *counts: heard.append(counts))
    assert heard == [(12, 21), (16, 21), (20, 21), (21, 21)]
    assert len(dataset.bank("test", check="always")) == 21


def test_workers_need_no_torch():
    program = "import sys, fewshot.data.photos; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_bank_is_read_through_once_and_again_when_it_changed(tmp_path, photos, monkeypatch):
    write_bank(tmp_path / "bank", photos, SMALL, FACTS)
    hashed = []
    original = streaming.hashlib.file_digest
    monkeypatch.setattr("fewshot.data.store.hashlib.file_digest", lambda f, n: hashed.append(f.name) or original(f, n))
    for check, times in (("never", 0), ("changed", 2), ("changed", 0), ("always", 2), ("changed", 0)):
        hashed.clear()
        open_bank(tmp_path / "bank", check=check)
        assert len(hashed) == times
    content = np.load(tmp_path / "bank/items.npy")
    content[0, 0, 0, 0] ^= 1
    np.save(tmp_path / "bank/items.npy", content)
    with pytest.raises(FewshotError, match="is damaged: its checksum"):
        open_bank(tmp_path / "bank")


@pytest.mark.skipif(not os.path.exists("/proc/self/smaps"), reason="needs Linux")
def test_processes_share_the_memory_of_a_bank(tmp_path, photos):
    write_bank(tmp_path / "bank", photos, SMALL, FACTS)
    bank = open_bank(tmp_path / "bank")
    assert int(bank.items.sum()) > 0
    with open("/proc/self/smaps") as file:
        mapping = file.read().split("items.npy")[1].split("Private_Dirty:")[1].split("kB")[0]
    # Pages that this process has to itself: none, although all were read.
    assert int(mapping) == 0
    # And none of it is written back.
    before = (tmp_path / "bank/items.npy").read_bytes()
    bank.items[0] = 0
    assert (tmp_path / "bank/items.npy").read_bytes() == before
