"""One run of `fewshot`: meta-train, meta-test, a row."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from hydra.core.singleton import Singleton
from hydra.core.utils import setup_globals
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from fewshot.cli import checkpoint_config, recipe_text
from fewshot.cli.outcome import Outcome, existing_rows
from fewshot.cli.run_banks import open_validation_bank, train_data
from fewshot.cli.run_folder import choose_run_folder
from fewshot.cli.run_generalised import generalised
from fewshot.cli.run_options import read_options
from fewshot.cli.run_parts import Parts, assemble
from fewshot.cli.run_row import AboutRun
from fewshot.cli.run_tests import run_tests
from fewshot.cli.run_tune import tune
from fewshot.cli.side_information import described_bank
from fewshot.cli.typed import typed
from fewshot.errors import FewshotError
from fewshot.evaluation.accuracies import accuracy_text
from fewshot.files import file_sha256, write_text
from fewshot.heads.feature_transform import bare
from fewshot.training.base_features import tell_base_features
from fewshot.training.checkpoint import load_weights
from fewshot.training.curve import draw_curve
from fewshot.training.fabric import Trainer, make_fabric
from fewshot.training.frozen_backbone import features_of
from fewshot.training.launched import in_processes
from fewshot.training.lightning import Fabric
from fewshot.training.meta_train import meta_train
from fewshot.training.training_run import BEST

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
    options = read_options(config)
    fabric = fabric or make_fabric(options.trainer)
    console = Console(quiet=not fabric.is_global_zero, highlight=False, soft_wrap=True)
    parts = assemble(config, overrides, weights, facts, options, fabric.world_size, fabric.device, console)
    if config.mode in ("tune", "generalised"):
        if fabric.is_global_zero:
            _without_a_row(config, parts, facts, fabric, console)
        return Outcome()

    used = file_sha256(config.checkpoint or config.init)
    name, digest = recipe_text.run_name(config), recipe_text.config_hash(config, used)
    there = None
    if config.skip_existing and fabric.is_global_zero:
        there = existing_rows(config.leaderboard, digest, parts.planned)
    there = fabric.broadcast(there)
    if there is not None:
        console.print(f"nothing to do: {_listed(there, config.leaderboard)} of this configuration and these images")
        return Outcome(there, Path(there[0]["run"]), existed=True)
    folder = choose_run_folder(config.output, name, digest, config.resume) if fabric.is_global_zero else None
    folder = fabric.broadcast(folder)
    console.print(f"run {folder} on {fabric.device.type}")
    if config.resume and all((folder / f"row{test.label}.json").is_file() for test in parts.planned):
        rows = [json.loads((folder / f"row{test.label}.json").read_text(encoding="utf-8")) for test in parts.planned]
        for row in rows:
            console.print(
                f"already finished: {row['data']} {accuracy_text(row['accuracy'], row['ci95'])}% (nothing to resume)"
            )
        return Outcome(rows, folder, existed=True)
    if fabric.is_global_zero:
        write_text(folder / "config.yaml", OmegaConf.to_yaml(config, resolve=True))

    if weights is None:
        facts = _train(config, parts, fabric, folder, name)
    parts.learner.to(fabric.device)
    if config.mode == "train":
        console.print(f"weights in {folder / BEST}" if (folder / BEST).is_file() else "nothing to train, nothing saved")
        return Outcome([], folder)
    about = AboutRun(name, digest, facts, parts.pretraining, parts.side_information)
    return Outcome(
        run_tests(config, parts.learner, parts.planned, parts.base[0], about, folder, fabric, console), folder
    )


def _listed(rows: Sequence[Mapping], leaderboard: str) -> str:
    numbers = ", ".join(str(row["row"]) for row in rows)
    return f"row {numbers} of {leaderboard} is" if len(rows) == 1 else f"rows {numbers} of {leaderboard} are"


def _without_a_row(config: DictConfig, parts: Parts, facts: dict, fabric: Fabric, console: Console) -> None:
    """Tune a head's options, or test seen and unseen classes together."""
    options, learner = parts.options, parts.learner.to(fabric.device)
    base, test = parts.base, parts.tests[""]
    if config.mode == "tune":
        # Options are tried with the weights that were trained, unless the head is another one.
        trained = None if parts.replaced else dict(bare(learner.head).named_parameters())
        tune(config, learner, test, options.protocols["val"], parts.classes, console, base[0], trained)
        return
    known = facts.get("train_data", "")
    validation = open_validation_bank(
        options.dataset, parts.seen, known, options.protocols["val"], parts.trained_on, console
    )
    validation = described_bank(options.semantics, validation)
    generalised(config, learner, base, validation, test, options.protocols["test"], console)


def _train(config: DictConfig, parts: Parts, fabric: Fabric, folder: Path, name: str) -> dict:
    """Train the learner, where there is anything to train; what the weights' file says of it."""
    options, learner, banks, held_out = parts.options, parts.learner, parts.banks, config.get("held_out", 0)
    protocols, trained = options.protocols, train_data(banks["train"], held_out)
    base, held_out_images = parts.base
    if not any(parameter.requires_grad for parameter in learner.parameters()):
        learner.to(fabric.device)
        if learner.needs_base_mean or learner.needs_base_classes:
            tell_base_features(learner, base)
        # Of a head that is fitted to the base classes, whether or not anything is trained.
        return {"train_data": trained} if parts.needs_base else {}
    if options.settings.frozen_backbone:
        learner.to(fabric.device)
        banks = features_of(learner, banks, options.dataset.prepared / "features")
    facts = {
        "config": checkpoint_config.without_command(config),
        "train_protocol": str(protocols["train"]),
        "train_data": trained,
        "images": parts.trained_on.to_json(),
        "classes": parts.classes,
        "seen": parts.seen,
        "pretraining": parts.pretraining,
        "side_information": parts.side_information,
        "precision": options.trainer.precision,
    }
    if held_out_images is not None:
        facts["held_out"] = {"images": len(held_out_images), "fingerprint": held_out_images.fingerprint}
    result = meta_train(
        learner,
        banks["train"],
        protocols["train"],
        banks.get("val"),
        protocols["val"],
        base_bank=None if config.data.get("training_pipeline") is None else base,
        optimizer=options.optimizer,
        schedule=options.schedule,
        settings=options.settings,
        augment=options.augment,
        fabric=fabric,
        trainer=options.trainer,
        folder=folder,
        resume=config.resume,
        facts=facts,
    )
    if fabric.is_global_zero:
        draw_curve(result.curve, folder / "curve.png", name)
    return facts


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
    if config.mode == "generalised" and config.get("heads") is not None:
        raise FewshotError("mode=generalised tests one head; choose it by head=, and leave heads= to mode=test")
    if config.mode == "generalised" and config.data.get("test") is not None:
        raise FewshotError(
            "mode=generalised takes its unseen classes from the data of the training; leave data.test out"
        )
    return config, weights, facts
