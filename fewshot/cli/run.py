"""One run of `fewshot`: meta-train, meta-test, a row."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from hydra.core.singleton import Singleton
from hydra.core.utils import setup_globals
from lightning_fabric import Fabric
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from fewshot.cli import checkpoint_config, recipe, recipe_checks, recipe_text
from fewshot.cli.outcome import Outcome, check_skips, existing_rows
from fewshot.cli.planned_tests import PlannedTest, planned_tests
from fewshot.cli.run_banks import (
    open_base_banks,
    open_test_banks,
    open_training_banks,
    open_validation_bank,
    train_data,
)
from fewshot.cli.run_folder import check_can_append, choose_run_folder
from fewshot.cli.run_generalised import generalised
from fewshot.cli.run_row import AboutRun
from fewshot.cli.run_tests import run_tests
from fewshot.cli.run_tune import tune
from fewshot.cli.run_weights import load_into, start_from
from fewshot.cli.side_information import check_alike, described, described_bank, joined, make_semantics
from fewshot.cli.typed import typed
from fewshot.data.bank import Bank
from fewshot.data.catalog import made_dataset
from fewshot.data.image_format import ImageFormat
from fewshot.episodes.views import ViewProtocol
from fewshot.errors import FewshotError
from fewshot.evaluation.scoring import side_information
from fewshot.files import file_sha256, write_text
from fewshot.instantiation import make
from fewshot.learners.learner import Learner, check_tasks
from fewshot.training.checkpoint import load_weights
from fewshot.training.curve import draw_curve
from fewshot.training.fabric import Trainer, make_fabric
from fewshot.training.frozen_backbone import features_of, freeze_backbone
from fewshot.training.launched import in_processes
from fewshot.training.meta_train import BEST, meta_train, parameter_groups, tell_base_features
from fewshot.training.settings import ClassificationSettings, TrainingSettings

MODES = ("train_and_test", "train", "test", "tune", "generalised")


def run(config: DictConfig, overrides: Iterable[str] = ()) -> Outcome:
    """Do what `config` says, in `trainer.devices` processes.

    Args:
        config: as `conf/config.yaml` composes it.
        overrides: what was typed, `key=value` each; in a test it goes on top of the checkpoint's configuration.

    Returns:
        What it left: rows, one for each head, data set and protocol tested; none for `mode=train`, `mode=tune` and
        `mode=generalised`.

    Raises:
        FewshotError: something given cannot be used; it is found before anything is written.
    """
    trainer = typed(Trainer, config.trainer, "trainer")
    if trainer.devices > 1:
        return in_processes(trainer, _in_one_of_several, config, list(overrides), Singleton.get_state())
    return _run(None, config, overrides)


def _in_one_of_several(fabric: Fabric, config: DictConfig, overrides: list[str], state: Mapping) -> Outcome:
    # A folder of a user's own configuration is known to Hydra alone.
    setup_globals()
    Singleton.set_state(dict(state))
    return _run(fabric, config, overrides)


def _run(fabric: Fabric | None, config: DictConfig, overrides: Iterable[str]) -> Outcome:
    config, weights, facts = _given(config, overrides)
    trains = weights is None
    recipe_checks.check_seed(config.seed)
    check_skips(config)
    if not isinstance(config.get("diagnostics", False), bool):
        raise FewshotError(f"diagnostics={config.diagnostics}; expected true or false")
    protocols = {part: recipe.make_protocol(config, part) for part in ("train", "val", "test")}
    classifies = recipe.trains_on_images(config)
    settings = typed(ClassificationSettings if classifies else TrainingSettings, config.training, "training")
    trainer = typed(Trainer, config.trainer, "trainer")
    optimizer, schedule = recipe.make_optimizer(config), make(config.schedule, "schedule")
    augment = make(config.augment, "augment")
    dataset, semantics = made_dataset(config.data), make_semantics(config)
    if config.leaderboard:
        check_can_append(config.leaderboard)
    fabric = fabric or make_fabric(trainer)
    if trains and not classifies:
        settings.check_steps(protocols["train"].episodes, fabric.world_size)
    console = Console(quiet=not fabric.is_global_zero, highlight=False, soft_wrap=True)
    held_out, banks = config.get("held_out", 0), {}
    if trains:
        banks = open_training_banks(config.data, dataset, protocols, classifies, console, held_out)
        recipe_checks.check_views(protocols["train"], augment, banks["train"], classifies)
    if classifies and "train" in banks:
        images = len(banks["train"])
        protocols["train"], settings = settings.protocol(images, config.seed), settings.counted_in_images(images)
        settings.check_steps(protocols["train"].episodes, fabric.world_size)
    trained_on = _trained_format(banks, facts)
    started = load_weights(config.init) if trains and config.init else None
    held_out_images = banks.pop("held_out", None)
    own = {f"{bank.name}/{bank.split}": bank.class_names for bank in banks.values()}
    seen = _all_seen(facts.get("seen", {}), started[1].get("seen", {}) if started else {}, own)
    if config.mode == "tune":
        tests = {
            "": open_validation_bank(dataset, seen, facts.get("train_data", ""), protocols["val"], trained_on, console)
        }
    else:
        tests = open_test_banks(config.data, dataset, seen, protocols["test"], trained_on, console)
    banks, tests = described(semantics, banks, tests)
    classes = facts.get("classes")
    if trains:
        # Without labels each image is a class.
        views = isinstance(protocols["train"], ViewProtocol)
        classes = len(banks["train"]) if views else banks["train"].num_classes
    learner = recipe.make_learner(config, next(iter(tests.values())), classes)
    if learner.reads_attributes:
        check_alike(banks, tests)
    if weights is not None:
        load_into(learner, weights, config.checkpoint, checkpoint_config.replaced_head(overrides))
    pretraining = facts.get("pretraining", getattr(getattr(learner, "backbone", None), "pretraining", "none"))
    if trains and config.init:
        pretraining = start_from(learner, config.init, *started, bool(settings.frozen_backbone))
    informed = facts.get("side_information", "none")
    if trains:
        informed = side_information(learner, banks["train"])
        if started:
            informed = joined(informed, started[1].get("side_information", "none"), "initial weights")
    replaced = checkpoint_config.replaced_head(overrides) and not trains
    if replaced or (trains and classifies):
        recipe_checks.check_trained(learner.head, recipe_text.describe_head(config.head))
    if trains:
        if settings.frozen_backbone:
            freeze_backbone(learner)
            recipe_checks.check_frozen(config, learner, pretraining)
        learner.check_training(trainer.compile, str(trainer.precision))
        recipe_checks.check_trainable(learner, settings.tasks_per_step // fabric.world_size)
        for split, bank in banks.items():
            if split == "val" or not classifies:
                check_tasks(learner, bank, protocols[split])
        # Before anything is written: rates may be of parts that are not there.
        parameter_groups(learner, settings.rates)

    planned = []
    if config.mode not in ("tune", "generalised"):
        planned = planned_tests(config, learner, tests, protocols["test"], classes)
    what = _wants_base(config, learner, planned)
    base = (banks.get("train"), held_out_images)
    if what and not trains:
        base = open_base_banks(dataset, facts, held_out, what, trained_on, console)
        base = [bank and described_bank(semantics, bank) for bank in base]
    if config.mode in ("tune", "generalised"):
        if fabric.is_global_zero:
            learner.to(fabric.device)
            base, test = [bank and bank.to(fabric.device) for bank in base], tests[""].to(fabric.device)
            if config.mode == "tune":
                # Options are tried with the weights that were trained, unless the head is another one.
                trained = None if replaced else dict(learner.head.named_parameters())
                tune(config, learner, test, protocols["val"], classes, console, base[0], trained)
            else:
                known = facts.get("train_data", "")
                validation = open_validation_bank(dataset, seen, known, protocols["val"], trained_on, console)
                validation = described_bank(semantics, validation).to(fabric.device)
                generalised(config, learner, base, validation, test, protocols["test"], console)
        return Outcome()
    used = file_sha256(config.checkpoint or config.init)
    name, digest = recipe_text.run_name(config), recipe_text.config_hash(config, used)
    there = None
    if config.skip_existing and fabric.is_global_zero:
        there = existing_rows(config.leaderboard, digest, planned)
    there = fabric.broadcast(there)
    if there is not None:
        numbers = ", ".join(str(row["row"]) for row in there)
        rows = (
            f"row {numbers} of {config.leaderboard} is"
            if len(there) == 1
            else f"rows {numbers} of {config.leaderboard} are"
        )
        console.print(f"nothing to do: {rows} of this configuration and these images")
        return Outcome(there, Path(there[0]["run"]), existed=True)
    folder = choose_run_folder(config.output, name, digest, config.resume) if fabric.is_global_zero else None
    folder = fabric.broadcast(folder)
    console.print(f"run {folder} on {fabric.device.type}")
    if config.resume and all((folder / f"row{test.label}.json").is_file() for test in planned):
        rows = [json.loads((folder / f"row{test.label}.json").read_text(encoding="utf-8")) for test in planned]
        for row in rows:
            console.print(
                f"already finished: {row['data']} {row['accuracy']:.2f} ± {row['ci95']:.2f}% (nothing to resume)"
            )
        return Outcome(rows, folder, existed=True)
    if fabric.is_global_zero:
        write_text(folder / "config.yaml", OmegaConf.to_yaml(config, resolve=True))

    if trains and what:
        # Of a head that is fitted to the base classes, whether or not anything is trained.
        facts = {"train_data": train_data(banks["train"], held_out)}
    if trains and any(p.requires_grad for p in learner.parameters()):
        if settings.frozen_backbone:
            learner.to(fabric.device)
            banks = {split: bank.to(fabric.device) for split, bank in banks.items()}
            banks = features_of(learner, banks, dataset.prepared / "features")
        facts = {
            "config": checkpoint_config.without_command(config),
            "train_protocol": str(protocols["train"]),
            "train_data": train_data(banks["train"], held_out),
            "images": trained_on.to_json(),
            "classes": classes,
            "seen": seen,
            "pretraining": pretraining,
            "side_information": informed,
            "precision": trainer.precision,
        }
        if held_out_images is not None:
            facts["held_out"] = {"images": len(held_out_images), "fingerprint": held_out_images.fingerprint}
        result = meta_train(
            learner,
            banks["train"],
            protocols["train"],
            banks.get("val"),
            protocols["val"],
            optimizer=optimizer,
            schedule=schedule,
            settings=settings,
            augment=augment,
            fabric=fabric,
            trainer=trainer,
            folder=folder,
            resume=config.resume,
            facts=facts,
        )
        if fabric.is_global_zero:
            draw_curve(result.curve, folder / "curve.png", name)
    learner.to(fabric.device)
    if trains and "config" not in facts and (learner.needs_base_mean or learner.needs_base_classes):
        tell_base_features(learner, banks["train"].to(fabric.device))
    if config.mode == "train":
        console.print(f"weights in {folder / BEST}" if (folder / BEST).is_file() else "nothing to train, nothing saved")
        return Outcome([], folder)
    about = AboutRun(name, digest, facts, pretraining, informed)
    return Outcome(run_tests(config, learner, planned, base[0], about, folder, fabric, console), folder)


def _given(config: DictConfig, overrides: Iterable[str]) -> tuple[DictConfig, dict[str, torch.Tensor] | None, dict]:
    """The configuration of what is asked for, with the weights and facts of the checkpoint where one is tested."""
    if config.mode not in MODES:
        raise FewshotError(f"mode={config.mode}; expected one of {', '.join(MODES)}")
    if config.mode in ("train_and_test", "train"):
        if config.checkpoint:
            raise FewshotError(
                "checkpoint= goes with mode=test, tune or generalised; to go on with an interrupted run use resume=true"
            )
        return config, None, {}
    if not config.checkpoint:
        raise FewshotError(
            f"mode={config.mode} needs checkpoint=PATH, the best.safetensors or last.safetensors of a run"
        )
    if config.resume:
        raise FewshotError(f"resume=true goes with training; mode={config.mode} has nothing to resume, leave it out")
    weights, facts = load_weights(config.checkpoint)
    if "config" in facts:
        config = checkpoint_config.with_checkpoint(config, facts["config"], overrides)
    if config.mode == "generalised" and not config.get("held_out", 0):
        raise FewshotError(
            "mode=generalised needs images of the seen classes that training has not seen; train with held_out=0.2"
        )
    if config.mode == "generalised" and config.data.get("test") is not None:
        raise FewshotError(
            "mode=generalised takes its unseen classes from the data of the training; leave data.test out"
        )
    return config, weights, facts


def _wants_base(config: DictConfig, learner: Learner, planned: Iterable[PlannedTest]) -> str | None:
    """What of a run needs the base classes' images beside training; None if nothing does."""
    if config.mode == "generalised":
        return "mode=generalised"
    heads = [test.head for test in planned if test.head is not None]
    if not planned or any(test.head is None for test in planned):
        heads.append(getattr(learner, "head", None))
    unfitted = [head for head in heads if getattr(head, "fits_base", False)]
    if config.mode != "tune":
        unfitted = [head for head in unfitted if not head.is_fitted]
    return type(getattr(unfitted[0], "head", unfitted[0])).__name__ if unfitted else None


def _all_seen(*parts: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """Classes by the bank they were seen in; banks of one name may be of different splits and have different classes."""
    names: dict[str, set[str]] = {}
    for part in parts:
        for bank, classes in part.items():
            names.setdefault(bank, set()).update(classes)
    return {bank: sorted(classes) for bank, classes in names.items()}


def _trained_format(banks: dict[str, Bank], facts: dict) -> ImageFormat | None:
    """The format of the training images: those at hand, or those that a checkpoint tells of."""
    if "train" in banks:
        return ImageFormat.of(banks["train"])
    return ImageFormat.from_json(facts["images"]) if "images" in facts else None
