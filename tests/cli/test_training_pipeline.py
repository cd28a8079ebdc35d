"""Training images by a pipeline of their own: whole ones where those of the tests are cut."""

import csv
import shutil

import pytest
import torch
import yaml

from fewshot.backbones.conv4 import Conv4
from fewshot.data.image_format import ImageFormat, in_format
from fewshot.data.manifest import class_list
from fewshot.data.mini_imagenet import MiniImageNet
from fewshot.evaluation.embedding import embed_bank
from fewshot.heads.prototype import PrototypeHead
from fewshot.learners.metric_learner import MetricLearner
from fewshot.losses.cross_entropy import CrossEntropy
from fewshot.resources import manifests_folder
from fewshot.training.checkpoint import backbone_weights, load_weights

from ..data.conftest import noise, packed, picture
from .conftest import exit_code, only_run

IMAGES = 6
TEST = [
    "episodes.test.way=2",
    "episodes.test.query=3",
    "episodes.test.episodes=3",
    "trainer.accelerator=cpu",
    "trainer.threads=1",
]
DATA = ["data=mini_imagenet", "data.root=raw", "data.prepared=prepared", "data.pipeline=simpleshot"]
CLASSIFIER = [
    *DATA, *TEST, "learner=classifier", "head=nearest_centroid", "augment=resized_crop", "backbone.width=4",
    "training.epochs=1", "training.batch_size=6", "episodes.val.way=2", "episodes.val.episodes=2",
]  # fmt: skip


@pytest.fixture
def run(tmp_path, monkeypatch):
    """The command on three classes of each split, of images of 84x84."""
    folder = tmp_path / "manifests"
    shutil.copytree(manifests_folder(), folder)
    classes = {split: class_list("mini_imagenet", f"ravi_{split}")[:3] for split in ("train", "val", "test")}
    monkeypatch.setattr("fewshot.data.manifest.manifests_folder", lambda: folder)
    for split, lines in classes.items():
        (folder / f"mini_imagenet/ravi_{split}.txt").write_text("".join(f"{line}\n" for line in lines))
    table = folder / "mini_imagenet/manifest.yaml"
    table.write_text(yaml.safe_dump(yaml.safe_load(table.read_text()) | {"images_per_class": IMAGES}))
    keys = [line.split()[0] for lines in classes.values() for line in lines]
    names = [f"{key}{i:08d}.jpg" for key in keys for i in range(IMAGES)]
    packed(folder / "mini_imagenet/files_ravi", [f"{name[:9]}/{name}" for name in names])
    for number, name in enumerate(names):
        picture(tmp_path / "raw/mini-imagenet/images" / name, noise(number, 84, 84))
    for split, lines in classes.items():
        rows = [f"{name},{name[:9]}" for name in names if name[:9] in {line.split()[0] for line in lines}]
        (tmp_path / f"raw/mini-imagenet/{split}.csv").write_text("\n".join(["filename,label", *rows]))
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()

    def command(*arguments: str) -> int:
        trains = not any(argument.startswith("checkpoint=") for argument in arguments)
        return exit_code(monkeypatch, *(CLASSIFIER if trains else TEST), *arguments)

    yield command
    torch.set_num_threads(threads)


def features_mean(tmp_path, weights, pipeline):
    backbone = Conv4(width=4)
    backbone.load_state_dict(backbone_weights(weights))
    learner = MetricLearner(backbone, PrototypeHead(), CrossEntropy())
    own = MiniImageNet(tmp_path / "raw", tmp_path / "prepared", pipeline="simpleshot").bank("train")
    bank = MiniImageNet(tmp_path / "raw", tmp_path / "prepared", pipeline=pipeline).bank("train")
    return embed_bank(learner, in_format(bank, ImageFormat.of(own))).items.mean(0)


def test_whole_images_are_trained_on_and_the_base_mean_is_of_images_as_tests_see_them(run, tmp_path):
    assert run("data.training_pipeline=squash84") == 0
    weights, facts = load_weights(only_run(tmp_path) / "best.safetensors")
    whole = "mini_imagenet/train (squash84 as simpleshot from 84px)"
    assert facts["train_data"] == whole
    (row,) = csv.DictReader((tmp_path / "leaderboard.csv").read_text().splitlines())
    assert (row["train_data"], row["pipeline"]) == (whole, "simpleshot from 84px")
    (mean,) = (value for name, value in weights.items() if name.endswith("base_mean"))
    torch.testing.assert_close(mean, features_mean(tmp_path, weights, "simpleshot"), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(mean, features_mean(tmp_path, weights, "squash84"), rtol=1e-2)


def test_it_is_another_training_than_one_on_what_tests_see(run, tmp_path):
    assert run("name=whole", "data.training_pipeline=squash84") == run("name=middle") == 0
    weights = {path.parent.name[:5]: load_weights(path)[0] for path in (tmp_path / "runs").glob("*/last.safetensors")}
    name = next(name for name in weights["whole"] if name.endswith("blocks.0.0.weight"))
    assert not torch.equal(weights["whole"][name], weights["middl"][name])


def test_parts_of_larger_images_are_cut_to_the_size_of_the_tests(run, tmp_path):
    assert run("data.training_pipeline=squash120", "augment.size=84") == 0
    path = only_run(tmp_path) / "best.safetensors"
    weights, facts = load_weights(path)
    assert facts["train_data"] == "mini_imagenet/train (squash120 as simpleshot from 84px)"
    assert (facts["images"]["height"], facts["images"]["width"]) == (84, 84)
    (mean,) = (value for name, value in weights.items() if name.endswith("base_mean"))
    torch.testing.assert_close(mean, features_mean(tmp_path, weights, "simpleshot"), rtol=1e-4, atol=1e-5)
    assert run("mode=test", f"checkpoint={path}") == 0


def test_seen_classes_are_tested_as_tests_show_them_though_training_cut_parts_of_larger_images(run, tmp_path, capfd):
    own = ["data.training_pipeline=squash120", "augment.size=84", "held_out=0.5"]
    assert run(*own, "mode=train") == 0
    capfd.readouterr()
    assert run("mode=generalised", f"checkpoint={only_run(tmp_path) / 'best.safetensors'}") == 0
    assert "harmonic mean" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["data.training_pipeline=chen224"],
            "chen224 makes training images of 224x224 pixels, tests show 84x84; augment=",
        ),
        (
            ["data.training_pipeline=squash120", "augment.size=90"],
            "augment.size=90 makes training images of 90x90 pixels",
        ),
        (["augment.size=90"], "augment.size=90 makes training images of 90x90 pixels, tests show 84x84; leave it out"),
        (["data.training_pipeline=nosuch"], "data.training_pipeline=nosuch; expected one of ravi84"),
    ],
)
def test_what_cannot_be_is_one_line(run, tmp_path, capfd, arguments, words):

    assert run(*arguments) == 2
    err = capfd.readouterr().err
    assert words in err
    assert err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_views_cut_from_larger_images_need_supports_that_are_views_too(run, monkeypatch, tmp_path, capfd):
    views = [
        *DATA, *TEST, "learner=protoclr", "episodes=unlabelled", "augment=views_photos", "data.training_pipeline=squash120",
        "augment.size=84", "episodes.train.way=4", "episodes.train.episodes=2", "backbone.width=4",
    ]  # fmt: skip
    assert exit_code(monkeypatch, *views) == 2
    assert "augment.size=84 of images of 120x120, and supports are shown as they are" in capfd.readouterr().err
    assert not (tmp_path / "runs").exists()
    assert exit_code(monkeypatch, *views, "episodes.train.augment_support=true") == 0
