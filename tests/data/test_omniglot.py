import hashlib
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fewshot.cli.data_tables import source_of
from fewshot.data import omniglot
from fewshot.data.manifest import class_list, manifest
from fewshot.data.omniglot import Omniglot
from fewshot.errors import FewshotError

REAL = Path(__file__).parents[2] / "data" / "raw" / "omniglot-py"


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Two characters in train, one in test, with one-bit drawings as the real ones."""
    lists = {
        "vinyals_train": ["A/character01", "B/character02"],
        "vinyals_val": ["B/character01"],
        "vinyals_test": ["C/character01"],
    }
    monkeypatch.setattr(omniglot, "class_list", lambda _, part: lists[part])
    rng = np.random.default_rng(0)
    for part, names in (
        ("images_background", lists["vinyals_train"] + lists["vinyals_val"]),
        ("images_evaluation", lists["vinyals_test"]),
    ):
        for name in names:
            folder = tmp_path / "raw" / "omniglot-py" / part / name
            folder.mkdir(parents=True)
            for i in range(20):
                Image.fromarray(rng.random((105, 105)) > 0.3).save(folder / f"0001_{i + 1:02d}.png")
    return tmp_path


def dataset(tree, **options):
    return Omniglot(tree / "raw", tree / "prepared", **({"download": False} | options))


def test_pixels_are_those_of_the_published_pipeline(tree):
    bank = dataset(tree).bank("train")
    assert bank.class_names[:5] == (*(f"A/character01/rot{r:03d}" for r in (0, 90, 180, 270)), "B/character02/rot000")
    files = sorted((tree / "raw/omniglot-py/images_background/A/character01").glob("*.png"))
    for rotation in range(4):
        for i, path in enumerate(files):
            # As the authors of Prototypical Networks do it, step by step, with Pillow.
            image = Image.open(path).rotate(90.0 * rotation).resize((28, 28))
            expected = 1 - np.array(image, np.float32)
            assert np.array_equal(bank.items[rotation * 20 + i, 0].numpy() / 255, expected)


def test_the_folder_itself_can_be_the_root(tree):
    assert Omniglot(tree / "raw" / "omniglot-py", tree / "p", download=False).bank("test").num_classes == 4


def test_a_bank_says_where_the_drawings_lay(tree):
    for root in ("raw", "raw/omniglot-py"):
        folder = Omniglot(tree / root, tree / "p", download=False).prepare("test", force=True)
        assert source_of(folder) == str(tree / "raw/omniglot-py")


def test_a_missing_class_is_named(tree):
    (tree / "raw/omniglot-py/images_background/B").rename(tree / "gone")
    with pytest.raises(FewshotError, match="lacks B/character02"):
        dataset(tree).bank("train")
    assert dataset(tree).bank("test").num_classes == 4


def test_a_missing_image_is_named(tree):
    next((tree / "raw/omniglot-py/images_background/B/character02").glob("*.png")).unlink()
    with pytest.raises(FewshotError, match=r"B/character02 \(19 images, expected 20\)"):
        dataset(tree).bank("train")


def test_an_unreadable_image_is_named_and_nothing_is_left(tree):
    path = next((tree / "raw/omniglot-py/images_background/B/character02").glob("*.png"))
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(FewshotError, match=path.name):
        dataset(tree).bank("train")
    assert not dataset(tree).is_prepared("train")


def test_a_missing_data_set_says_where_it_was_looked_for(tmp_path):
    with pytest.raises(FewshotError, match=r"no images_background in .*omniglot-py"):
        Omniglot(tmp_path, tmp_path / "p", download=False).bank("train")


def test_preparing_again_reads_nothing(tree):
    first = dataset(tree).bank("train").fingerprint
    (tree / "raw").rename(tree / "gone")
    assert dataset(tree).bank("train").fingerprint == first


@pytest.fixture
def server(tmp_path):
    """A web server on this machine with a folder of files."""
    import functools
    import http.server
    import threading

    folder = tmp_path / "www"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield folder, f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()
        thread.join()


def test_archives_are_downloaded_checked_and_unpacked(tree, server, monkeypatch):
    www, address = server
    archives = {}
    for part in ("images_background", "images_evaluation"):
        with zipfile.ZipFile(www / f"{part}.zip", "w") as file:
            for path in (tree / "raw/omniglot-py" / part).rglob("*.png"):
                file.write(path, path.relative_to(tree / "raw/omniglot-py"))
        md5 = hashlib.md5((www / f"{part}.zip").read_bytes()).hexdigest()
        archives[f"{part}.zip"] = {"url": f"{address}/{part}.zip", "md5": md5}
    monkeypatch.setattr(omniglot, "manifest", lambda _: {"archives": archives})
    expected = dataset(tree).bank("test").fingerprint
    assert Omniglot(tree / "new", tree / "p2").bank("test").fingerprint == expected

    archives["images_evaluation.zip"]["md5"] = "0" * 32
    with pytest.raises(FewshotError, match=r"images_evaluation\.zip of omniglot does not have the published checksum"):
        Omniglot(tree / "new2", tree / "p3").bank("test")
    assert not (tree / "new2/omniglot-py/images_evaluation").exists()

    archives["images_background.zip"]["url"] = f"{address}/nothing.zip"
    with pytest.raises(FewshotError, match=r"images_background.zip could not be fetched .* by hand"):
        Omniglot(tree / "new3", tree / "p4").bank("test")


def test_a_download_that_was_cut_off_goes_on_with_what_is_missing(tree, server, monkeypatch):
    www, address = server
    folder = tree / "raw/omniglot-py"
    with zipfile.ZipFile(www / "images_evaluation.zip", "w") as file:
        for path in (folder / "images_evaluation").rglob("*.png"):
            file.write(path, path.relative_to(folder))
    md5 = hashlib.md5((www / "images_evaluation.zip").read_bytes()).hexdigest()
    (folder / "images_evaluation").rename(tree / "gone")
    with pytest.raises(FewshotError, match="lacks C/character01"):
        dataset(tree).bank("test")
    # The server has no images_background.zip: asking for it would fail.
    archives = {
        "images_background.zip": {"url": f"{address}/images_background.zip", "md5": "0" * 32},
        "images_evaluation.zip": {"url": f"{address}/images_evaluation.zip", "md5": md5},
    }
    monkeypatch.setattr(omniglot, "manifest", lambda _: {"archives": archives})
    assert dataset(tree, download=True).bank("test").num_classes == 4


def test_a_class_that_the_archives_do_not_hold_is_not_fetched_again(tree, monkeypatch):
    monkeypatch.setattr("fewshot.data.download.pooch.retrieve", lambda *_, **__: pytest.fail("asked the network"))
    (tree / "raw/omniglot-py/images_background/B/character02").rename(tree / "gone")
    with pytest.raises(FewshotError, match="lacks B/character02"):
        dataset(tree, download=True).bank("train")


def test_lake_has_no_rotations_and_no_val(tree, monkeypatch):
    lists = {"lake_background": ["A/character01", "B/character01"], "lake_evaluation": ["C/character01"]}
    monkeypatch.setattr(omniglot, "class_list", lambda _, part: lists[part])
    lake = dataset(tree, split="lake")
    assert lake.splits == ("train", "test")
    bank = lake.bank("train")
    assert (bank.class_names, len(bank)) == (("A/character01", "B/character01"), 40)
    assert set(bank.items.unique().tolist()) == {0, 255}


def test_upright_has_the_same_splits_without_rotations(tree):
    upright, turned = dataset(tree, split="vinyals_upright"), dataset(tree)
    assert upright.splits == turned.splits
    bank, rotated = upright.bank("trainval"), turned.bank("trainval")
    # Names of classes are those of the rotated banks, so that what was trained on is known there too.
    assert bank.class_names == ("A/character01/rot000", "B/character01/rot000", "B/character02/rot000")
    assert (bank.split, rotated.split) == ("upright-trainval", "trainval")
    for i, name in enumerate(bank.class_names):
        place = rotated.class_names.index(name)
        assert torch.equal(bank.items[20 * i : 20 * i + 20], rotated.items[20 * place : 20 * place + 20])
    assert upright.bank("test").num_classes == 1


def test_lists_have_the_published_sizes_and_split_the_characters():
    counts = manifest("omniglot")["counts"]
    lists = {name: class_list("omniglot", name) for name in counts}
    assert counts == {name: len(names) for name, names in lists.items()}
    vinyals = [name for part in ("train", "val", "test") for name in lists[f"vinyals_{part}"]]
    assert len(vinyals) == len(set(vinyals)) == 1623
    assert set(vinyals) == {*lists["lake_background"], *lists["lake_evaluation"]}


def test_an_unknown_split_scheme_is_refused():
    with pytest.raises(FewshotError, match="split=original"):
        Omniglot(split="original")


@pytest.mark.skipif(not REAL.is_dir(), reason="the real images are not in data/raw/omniglot-py")
def test_the_real_test_split(tmp_path):
    bank = Omniglot(REAL, tmp_path, download=False).bank("test")
    assert (bank.num_classes, len(bank)) == (1692, 33840)
    assert bank.fingerprint.startswith("9ccd86af9200")
