"""Every recipe of `conf/experiment/` composes, and its learner makes scores and a loss of the images it is for."""

import re
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir

from fewshot.cli import recipe
from fewshot.cli.typed import typed
from fewshot.data.bank import Bank
from fewshot.data.image_format import ImageFormat
from fewshot.data.pipeline import PIPELINES
from fewshot.instantiation import make
from fewshot.resources import conf_folder
from fewshot.training.parameter_groups import parameter_groups
from fewshot.training.settings import ClassificationSettings, TrainingSettings

FOLDER = conf_folder() / "experiment"
RECIPES = sorted(str(path.relative_to(FOLDER).with_suffix("")) for path in FOLDER.rglob("*.yaml"))


def composed(name):
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return compose("config", overrides=[f"experiment={name}"])


def tiny_bank(config):
    """As many pixels as the recipe's images have, for the shapes alone."""
    channels, size = (3, PIPELINES[config.data.pipeline].size) if "pipeline" in config.data else (1, 28)
    # Networks that pool over positions give the same features of small images, and sooner.
    size = 32 if size > 84 else size
    items = torch.randint(0, 256, (2, channels, size, size), dtype=torch.uint8)
    described = config.get("semantics") or config.data.get("attributes")
    attributes = torch.rand(2, 312) if described else None
    return Bank(items, torch.tensor([0, 1]), ["a", "b"], attributes)


@pytest.mark.parametrize("name", RECIPES)
def test_it_makes_a_learner_and_settings_that_go_together(name):
    config = composed(name)
    classifies = recipe.trains_on_images(config)
    settings = typed(ClassificationSettings if classifies else TrainingSettings, config.training, "training")
    for part in ("train", "val", "test"):
        recipe.make_protocol(config, part)
    recipe.make_optimizer(config)
    make(config.schedule, "schedule")
    bank = tiny_bank(config)
    learner = recipe.make_learner(config, ImageFormat.of(bank), classes=64, bank=bank)
    augment = make(config.augment, "augment")
    images = augment(bank.items / 255, torch.Generator().manual_seed(0))
    assert learner.eval().embed(images).shape == (2, learner.backbone.feature_size)
    if not classifies:
        parameter_groups(learner, settings.rates)


@pytest.mark.parametrize("name", [name for name in RECIPES if name != "debug"])
def test_it_is_named_after_its_file_and_says_where_it_is_from(name):
    words = re.sub(r"[/_]", " ", name).replace("mini imagenet", "mini").split()
    assert str(composed(name).name).split("-") == words
    lines = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    comment = " ".join(line for line in lines[1:] if line.startswith("#"))
    assert re.search(r"20\d\d", comment), "the paper's year"


def test_there_is_a_recipe_for_each_data_set_with_published_figures():
    assert {Path(name).parts[0] for name in RECIPES} >= {"mini_imagenet", "omniglot", "cub", "cifar_fs"}
