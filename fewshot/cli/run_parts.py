"""What a run works with: banks, the learner with its weights, the tests; all checked together before anything is written."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from torch import Tensor

from fewshot.augment.pixels import Augment
from fewshot.cli import checkpoint_config, recipe, recipe_checks, recipe_text
from fewshot.cli.planned_tests import PlannedTest, planned_tests
from fewshot.cli.run_banks import open_base_banks, open_training_banks, open_validation_bank
from fewshot.cli.run_options import Options
from fewshot.cli.run_weights import load_into, start_from, without_pretraining
from fewshot.cli.side_information import check_alike, described, described_bank, joined
from fewshot.cli.tested_banks import open_test_banks
from fewshot.data.bank import Bank
from fewshot.data.image_format import ImageFormat
from fewshot.episodes.views import ViewProtocol
from fewshot.evaluation.scoring import side_information
from fewshot.heads.feature_transform import bare
from fewshot.learners.learner import Learner, check_tasks, trained_format
from fewshot.learners.own_parts import check_own_parts
from fewshot.training.checkpoint import load_weights
from fewshot.training.frozen_backbone import freeze_backbone
from fewshot.training.parameter_groups import parameter_groups
from fewshot.training.schedule import check_schedule
from fewshot.training.trainable import check_trainable


@dataclass(frozen=True)
class Parts:
    """What a run works with.

    Args:
        options: what was asked for; a classifier's counted in images.
        learner: with the weights it starts from.
        banks: those trained on, `train` and where there is one `val`; none in a test.
        tests: those tested on, by what the names of their files end in.
        planned: the tests; none where options are tuned or seen and unseen classes are tested together.
        classes: how many the learner tells apart in training, None if that is not known.
        seen: names of the classes that were trained or validated on, by their bank.
        trained_on: format of the training images; None if nothing was trained.
        pretraining: what the weights stem from.
        side_information: what else than images training used.
        replaced: whether the checkpoint's head gave way to another.
        base: images of the base classes, and those of them that training has held out, where something needs them.
        needs_base: what does; None if nothing.
    """

    options: Options
    learner: Learner
    banks: dict[str, Bank]
    tests: dict[str, Bank]
    planned: list[PlannedTest]
    classes: int | None
    seen: dict[str, list[str]]
    trained_on: ImageFormat | None
    pretraining: str
    side_information: str
    replaced: bool
    base: tuple[Bank | None, Bank | None]
    needs_base: str | None


def assemble(
    config: DictConfig,
    overrides: Iterable[str],
    weights: dict[str, Tensor] | None,
    facts: dict,
    options: Options,
    processes: int,
    device: torch.device,
    console: Console,
) -> Parts:
    """Open the banks, make the learner, and check that all goes together.

    Args:
        config: of the run; in a test with what the checkpoint says.
        overrides: what was typed.
        weights: of the checkpoint that is tested; None if the run trains.
        facts: of that checkpoint.
        options: what the configuration asks for.
        processes: that train together.
        device: of this one.
        console: hears what is prepared.

    Raises:
        FewshotError: parts that do not go together.
    """
    trains, held_out, dataset = weights is None, config.get("held_out", 0), options.dataset
    banks = {}
    if trains:
        recipe_checks.check_used(config, overrides)
        if not options.classifies:
            options.check_steps(processes)
        banks = open_training_banks(
            config.data, dataset, options.protocols, options.classifies, console, held_out, options.augment
        )
        recipe_checks.check_views(options.protocols["train"], options.augment, banks["train"], options.classifies)
        if options.classifies:
            options = options.of_images(len(banks["train"]), config.seed)
            options.check_steps(processes)
    protocols = options.protocols
    trained_on = _trained_format(banks, options.augment, facts)
    started = load_weights(config.init) if trains and config.init else None
    held_out_images, base_images = banks.pop("held_out", None), banks.pop("base", None)
    own = {f"{bank.name}/{bank.split}": bank.class_names for bank in banks.values()}
    seen = _all_seen(facts.get("seen", {}), started[1].get("seen", {}) if started else {}, own)
    if config.mode == "tune":
        trained = facts.get("train_data", "")
        tests = {"": open_validation_bank(dataset, seen, trained, protocols["val"], trained_on, console)}
    else:
        tests = open_test_banks(config.data, dataset, seen, protocols["test"], trained_on, console)
    banks, tests = described(options.semantics, banks, tests)
    classes = facts.get("classes")
    if trains:
        # Without labels each image is a class.
        views = isinstance(protocols["train"], ViewProtocol)
        classes = len(banks["train"]) if views else banks["train"].num_classes
    first = next(iter(tests.values()))
    made_of = config if trains else without_pretraining(config)
    learner = recipe.make_learner(made_of, ImageFormat.of(first), classes, first)
    learner.image_format = trained_on
    if learner.reads_attributes:
        check_alike(banks, tests)
    pretraining = facts.get("pretraining", getattr(getattr(learner, "backbone", None), "pretraining", "none"))
    informed, replaced = facts.get("side_information", "none"), False
    if trains:
        frozen = bool(options.settings.frozen_backbone)
        informed = side_information(learner, banks["train"])
        if started:
            pretraining = start_from(learner, config.init, *started, frozen)
            informed = joined(informed, started[1].get("side_information", "none"), "initial weights")
    else:
        replaced = checkpoint_config.replaced_head(overrides)
        load_into(learner, weights, config.checkpoint, replaced)
        stored = facts.get("config", {}).get("head")
        if stored and not replaced and hasattr(learner, "head"):
            known = recipe.told(learner.backbone, classes, next(iter(tests.values())))
            recipe_checks.check_untrained_options([OmegaConf.create(stored), config.head], known)
    if replaced or (trains and options.classifies):
        recipe_checks.check_trained(learner.head, recipe_text.describe_head(config.head))
    if trains:
        _check_training(config, options, learner, banks, pretraining, processes, device)

    planned = []
    if config.mode not in ("tune", "generalised"):
        planned = planned_tests(config, learner, tests, protocols["test"], classes)
    others = [test.head for test in planned]
    recipe_checks.check_percent([getattr(learner, "head", None), *others], next(iter(tests.values())))
    recipe_checks.check_own_heads(learner, others, next(iter(tests.values())), protocols["test"])
    needs_base = _needs_base(config, learner, planned)
    as_tested = banks.get("train") if base_images is None else described_bank(options.semantics, base_images)
    base = (as_tested, held_out_images)
    if needs_base and not trains:
        base = open_base_banks(dataset, facts, held_out, needs_base, trained_on, console)
        base = tuple(bank and described_bank(options.semantics, bank) for bank in base)
    return Parts(
        options=options,
        learner=learner,
        banks=banks,
        tests=tests,
        planned=planned,
        classes=classes,
        seen=seen,
        trained_on=trained_on,
        pretraining=pretraining,
        side_information=informed,
        replaced=replaced,
        base=base,
        needs_base=needs_base,
    )


def _check_training(
    config: DictConfig,
    options: Options,
    learner: Learner,
    banks: Mapping[str, Bank],
    pretraining: str,
    processes: int,
    device: torch.device,
) -> None:
    settings, trainer = options.settings, options.trainer
    if settings.frozen_backbone:
        freeze_backbone(learner)
        recipe_checks.check_frozen(config, learner, pretraining)
    learner.check_training(trainer.compile, str(trainer.precision))
    check_own_parts(learner.to(device), banks["train"], options.protocols["train"], options.augment)
    check_trainable(learner, options.protocols["train"], settings.tasks_per_step // processes)
    check_schedule(
        options.schedule, options.protocols["train"].episodes, "images" if options.classifies else "episodes"
    )
    for split, bank in banks.items():
        if split == "val" or not options.classifies:
            check_tasks(learner, bank, options.protocols[split])
    # Before anything is written: rates may be of parts that are not there.
    parameter_groups(learner, settings.rates)


def _needs_base(config: DictConfig, learner: Learner, planned: Sequence[PlannedTest]) -> str | None:
    """What of a run needs the base classes' images beside training; None if nothing does."""
    if config.mode == "generalised":
        return "mode=generalised"
    heads = [test.head for test in planned if test.head is not None]
    if not planned or any(test.head is None for test in planned):
        heads.append(getattr(learner, "head", None))
    unfitted = [head for head in heads if getattr(head, "fits_base", False)]
    if config.mode != "tune":
        unfitted = [head for head in unfitted if not head.is_fitted]
    return type(bare(unfitted[0])).__name__ if unfitted else None


def _all_seen(*parts: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """Classes by the bank they were seen in; banks of one name may be of different splits and have different classes."""
    names: dict[str, set[str]] = {}
    for part in parts:
        for bank, classes in part.items():
            names.setdefault(bank, set()).update(classes)
    return {bank: sorted(classes) for bank, classes in names.items()}


def _trained_format(banks: dict[str, Bank], augment: Augment | None, facts: dict) -> ImageFormat | None:
    """The format of the training images: those at hand, or those that a checkpoint tells of."""
    if "train" in banks:
        return trained_format(banks["train"], augment)
    return ImageFormat.from_json(facts["images"]) if "images" in facts else None
