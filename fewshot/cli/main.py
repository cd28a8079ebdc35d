"""`fewshot`: meta-train, meta-test and append a row, configured by Hydra."""

import json
import os
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fewshot.cli.hydra_errors import explain
from fewshot.cli.one_line_errors import one_line_errors
from fewshot.errors import FewshotError
from fewshot.resources import conf_folder


def main() -> None:
    """The console command `fewshot`."""
    # Hydra would print its own several lines and hide the cause; here errors become one line.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    with one_line_errors("fewshot"):
        app = hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name="config")(_task)
        try:
            app()
        except (HydraException, OmegaConfBaseException) as error:
            raise FewshotError(explain(error)) from error


def _task(config: DictConfig) -> None:
    sweeping = HydraConfig.get().mode == RunMode.MULTIRUN
    overrides = list(HydraConfig.get().overrides.task)
    if sweeping:
        # The sweep goes on with the next run and reports this one at the end.
        run(config, overrides)
        return
    with one_line_errors("fewshot"):
        run(config, overrides)


def run(config: DictConfig, overrides: list[str] | None = None) -> dict | None:
    """One run as configured; returns the leaderboard row that it made, if any."""
    from rich.console import Console

    from fewshot.cli import recipe
    from fewshot.cli.run_folder import ROW, choose_run_folder
    from fewshot.cli.typed import typed
    from fewshot.data.catalog import made_dataset
    from fewshot.evaluation.meta_test import evaluate
    from fewshot.files import write_text
    from fewshot.training.curve import draw_curve
    from fewshot.training.fabric import Trainer, make_fabric
    from fewshot.training.meta_train import BEST, TrainingSettings, load_weights, meta_train

    if config.mode not in ("train_and_test", "train", "test"):
        raise FewshotError(f"mode={config.mode}; expected train_and_test, train or test")
    weights, facts = None, {}
    if config.mode == "test":
        if not config.checkpoint:
            raise FewshotError("mode=test needs checkpoint=PATH, the best.safetensors or last.safetensors of a run")
        weights, facts = load_weights(config.checkpoint)
        if "config" in facts:
            config = recipe.with_checkpoint(config, facts["config"], overrides or [])
    elif config.checkpoint:
        raise FewshotError("checkpoint= goes with mode=test; to go on with an interrupted run use resume=true")
    if isinstance(config.seed, bool) or not isinstance(config.seed, int) or config.seed < 0:
        raise FewshotError(f"seed={config.seed!r}; expected a whole number of at least 0")

    # Everything that can be refused is made before anything is written.
    protocols = {part: recipe.make_protocol(config, part) for part in ("train", "val", "test")}
    settings = typed(TrainingSettings, config.training, "training")
    trainer = typed(Trainer, config.trainer, "trainer")
    optimizer, schedule = recipe.make_optimizer(config), recipe.make(config.schedule, "schedule")
    augment = recipe.make(config.augment, "augment")
    dataset = made_dataset(config.data)
    fabric = make_fabric(trainer)
    console = Console(quiet=not fabric.is_global_zero, highlight=False, soft_wrap=True)
    training = config.mode != "test"
    banks = _open_banks(dataset, ("train", "val", "test") if training else ("test",), protocols, console)
    learner = recipe.make_learner(config, banks["test"])
    name, digest = recipe.run_name(config), recipe.config_hash(config)
    trainable = any(p.requires_grad for p in learner.parameters())

    folder = choose_run_folder(config.output, name, digest, config.resume) if fabric.is_global_zero else None
    folder = fabric.broadcast(folder)
    console.print(f"run {folder} on {fabric.device.type}")
    if config.resume and (folder / ROW).is_file():
        row = json.loads((folder / ROW).read_text(encoding="utf-8"))
        console.print(f"already finished: {row['accuracy']:.2f} ± {row['ci95']:.2f}% (nothing to resume)")
        return row
    if fabric.is_global_zero:
        write_text(folder / "config.yaml", OmegaConf.to_yaml(config, resolve=True))

    if training and trainable:
        result = meta_train(
            learner, banks["train"], protocols["train"], banks.get("val"), protocols["val"],
            optimizer=optimizer, schedule=schedule, settings=settings, augment=augment, fabric=fabric, trainer=trainer,
            folder=folder, resume=config.resume,
            facts={"config": OmegaConf.to_container(config, resolve=True), "train_protocol": str(protocols["train"])},
        )  # fmt: skip
        if fabric.is_global_zero:
            draw_curve(result.curve, folder / "curve.png", name)
        facts = {"train_protocol": str(protocols["train"])}
    elif weights is not None:
        try:
            learner.load_state_dict(weights)
        except RuntimeError as error:
            raise FewshotError(f"{config.checkpoint} does not fit this learner: {str(error).splitlines()[-1].strip()}") from error
        learner.to(fabric.device)
    if config.mode == "train" or not fabric.is_global_zero:
        console.print(f"weights in {folder / BEST}")
        return None
    found = evaluate(learner, banks["test"], protocols["test"])
    return _report(config, learner, banks["test"], found, facts, folder, name, digest, trainer.precision, console)


def _open_banks(dataset, splits, protocols, console) -> dict:
    from fewshot.episodes.sampler import EpisodeSampler

    banks = {}
    for split in splits:
        if split not in dataset.splits:
            if split == "val":
                continue
            raise FewshotError(f"{dataset.name} has no split {split!r}, only {', '.join(dataset.splits)}")
        if not dataset.is_prepared(split):
            console.print(f"preparing {dataset.name}/{split} in {dataset.folder(split)}")
        banks[split] = dataset.bank(split)
        EpisodeSampler(banks[split], protocols[split])
    return banks


def _report(config, learner, bank, found, facts, folder, name, digest, precision, console) -> dict:
    """Save what a test found beside the run, draw an episode, append the row."""
    import numpy as np
    import torch

    import fewshot
    from fewshot.cli import recipe
    from fewshot.cli.provenance import git_state
    from fewshot.cli.run_folder import ROW
    from fewshot.device import device_name
    from fewshot.evaluation.picture import draw_episode
    from fewshot.files import replacing, write_text
    from fewshot.leaderboard.row import Row
    from fewshot.leaderboard.table import append

    with replacing(folder / "test_accuracies.npy") as temporary:
        np.save(temporary, found.accuracies, allow_pickle=False)
    draw_episode(learner.eval(), bank.to(found.device), found.protocol, folder / "episode.png")
    commit, dirty = git_state()
    row = Row(
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        name=name,
        data=found.data,
        split=found.split,
        pipeline=found.pipeline,
        bank_fingerprint=found.bank_fingerprint,
        backbone=recipe.describe(config.backbone),
        pretraining="none",
        learner=recipe.describe(config.learner),
        head=recipe.describe(config.head),
        loss=recipe.describe(config.loss),
        transductive=found.transductive,
        train_protocol=facts.get("train_protocol", ""),
        way=found.protocol.way,
        shot=found.protocol.shot_text,
        query=found.protocol.query,
        imbalance=found.protocol.imbalance,
        episodes=found.protocol.episodes,
        episodes_sha256=found.episodes_sha256,
        test_seed=found.protocol.seed,
        seed=config.seed,
        accuracy=found.accuracy,
        ci95=found.ci95,
        ci_type="t",
        seconds=round(found.seconds, 3),
        episodes_per_second=round(found.episodes_per_second, 1),
        device=device_name(found.device),
        precision=precision,
        fewshot_version=fewshot.__version__,
        torch_version=torch.__version__,
        git_commit=commit,
        git_dirty=dirty,
        config_hash=digest,
        run=str(Path(folder).resolve()),
    )
    if config.leaderboard:
        append(config.leaderboard, row)
    write_text(folder / ROW, json.dumps(asdict(row), indent=1) + "\n")
    console.print(f"meta-test {found}")
    console.print(f"{found.seconds:.1f} s, {found.episodes_per_second:.0f} episodes/s; pictures and accuracies in {folder}")
    if config.leaderboard:
        console.print(f"row appended to {config.leaderboard}; fewshot-leaderboard show")
    return asdict(row)


if __name__ == "__main__":
    sys.exit(main())
