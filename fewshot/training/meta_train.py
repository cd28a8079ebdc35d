"""The meta-training loop."""

import hashlib
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from fewshot.data.bank import Bank
from fewshot.episodes.episodes import Episodes
from fewshot.episodes.protocol import Protocol
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.errors import FewshotError
from fewshot.evaluation.meta_test import evaluate
from fewshot.learners.learner import Learner, TrainingLoss
from fewshot.training.checkpoint import load_tree, save_tree
from fewshot.training.curve import TrainingCurve
from fewshot.training.fabric import Trainer, make_fabric
from fewshot.training.progress import TrainingProgress
from fewshot.training.schedule import Constant

CHECKPOINT, BEST, LAST = "checkpoint.safetensors", "best.safetensors", "last.safetensors"


@dataclass(frozen=True)
class TrainingSettings:
    """How the loop runs; all counts are of episodes.

    Args:
        tasks_per_step: tasks whose mean loss makes one optimiser step, over all processes.
        validate_every: episodes between validations; 0 never validates.
        patience: validations without a better one before training stops; null never stops early.
        checkpoint_every: episodes between checkpoints; there is one at each validation too.
        log_every: episodes per row of the training curve.
        gradient_clip: largest gradient norm; null does not clip.
    """

    tasks_per_step: int = 1
    validate_every: int = 1000
    patience: int | None = None
    checkpoint_every: int = 1000
    log_every: int = 100
    gradient_clip: float | None = None

    def __post_init__(self):
        for name, least in (("tasks_per_step", 1), ("validate_every", 0), ("checkpoint_every", 1), ("log_every", 1)):
            if getattr(self, name) < least:
                raise FewshotError(f"training.{name}={getattr(self, name)}; expected at least {least}")
        if self.patience is not None and self.patience < 1:
            raise FewshotError(f"training.patience={self.patience}; expected at least 1, or null")
        if self.gradient_clip is not None and not self.gradient_clip > 0:
            raise FewshotError(f"training.gradient_clip={self.gradient_clip}; expected more than 0, or null")


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """What training left.

    Args:
        curve: rows of the training curve.
        episodes: trained on.
        best_episode: after which the kept weights were taken.
        best_accuracy: validation accuracy of the kept weights in percent; NaN without validation.
    """

    curve: list[dict]
    episodes: int
    best_episode: int
    best_accuracy: float


class _Step(nn.Module):
    """The forward pass that Fabric and DDP wrap: tensors in, a training loss out."""

    def __init__(self, learner: Learner):
        super().__init__()
        self.learner = learner

    def forward(self, *parts: Tensor) -> TrainingLoss:
        return self.learner.training_loss(Episodes(*parts))


def meta_train(
    learner: Learner,
    bank: Bank,
    protocol: Protocol,
    validation_bank: Bank | None = None,
    validation_protocol: Protocol | None = None,
    *,
    optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer] = partial(torch.optim.Adam, lr=1e-3),
    schedule: Callable[[int, int], float] = Constant(),  # noqa: B008 - it has no state
    settings: TrainingSettings = TrainingSettings(),  # noqa: B008 - it is frozen
    augment: Callable[[Tensor, torch.Generator], Tensor] | None = None,
    fabric: Fabric | None = None,
    trainer: Trainer = Trainer(),  # noqa: B008 - it is frozen
    folder: Path | str | None = None,
    resume: bool = False,
    facts: dict | None = None,
    show_progress: bool = True,
) -> TrainingResult:
    """Train `learner` on episodes of `bank`; it ends with the weights that validated best.

    Training episode i, validation episodes and the numbers drawn inside a step depend on the seeds
    of the protocols and on i alone. With a `folder`, killing the process at any moment and calling again
    with `resume=True` gives the same weights and curve, bit for bit on one CPU.

    Args:
        learner: what is trained, in place.
        bank: meta-training classes.
        protocol: training episodes; `protocol.episodes` is the length of training.
        validation_bank: validation classes; None trains to the end and keeps the last weights.
        validation_protocol: validation episodes; by default those of `protocol`, 500 of them.
        optimizer: parameters to an optimiser.
        schedule: `(episodes done, all episodes) -> factor` on the learning rates.
        settings: how the loop runs.
        augment: `(images, generator) -> images`, for training images only.
        fabric: a launched Fabric; by default one is made of `trainer`.
        trainer: device, precision, memory layout.
        folder: where weights, checkpoints and the curve are written; None writes nothing.
        resume: go on from the checkpoint in `folder`, if there is one.
        facts: plain JSON kept inside the files of weights.
        show_progress: print what goes on.

    Raises:
        FewshotError: the protocol does not fit the bank, the checkpoint belongs to another run, or
            the loss is no longer a number.
    """
    fabric = fabric or make_fabric(trainer)
    folder = Path(folder) if folder is not None else None
    writes = folder is not None and fabric.is_global_zero
    if settings.tasks_per_step % fabric.world_size:
        raise FewshotError(
            f"training.tasks_per_step={settings.tasks_per_step} cannot be shared by {fabric.world_size} devices; "
            f"use a multiple of {fabric.world_size}"
        )
    bank = bank.to(fabric.device)
    sampler = EpisodeSampler(bank, protocol, augment, channels_last=trainer.channels_last)
    validating = validation_bank is not None and settings.validate_every > 0
    if validating:
        validation_bank = validation_bank.to(fabric.device)
        validation_protocol = validation_protocol or Protocol(protocol.way, protocol.shot, protocol.query, episodes=500)
        EpisodeSampler(validation_bank, validation_protocol)

    if trainer.channels_last:
        learner.to(memory_format=torch.channels_last)
    step = _Step(learner)
    if trainer.compile and hasattr(learner, "backbone"):
        learner.backbone.compile()
    # Fabric moves the learner to the device before the optimiser sees its parameters.
    learner.to(fabric.device)
    optim = optimizer([p for p in learner.parameters() if p.requires_grad])
    base_rates = [group["lr"] for group in optim.param_groups]
    wrapped, optim = fabric.setup(step, optim)

    done, best, misses, rows = 0, {"accuracy": -math.inf, "episodes": 0}, 0, []
    best_weights = None
    if folder and resume and (folder / CHECKPOINT).is_file():
        state = load_tree(folder / CHECKPOINT)
        if state["bank"] != bank.fingerprint or state["protocol"] != protocol.as_dict():
            raise FewshotError(f"{folder / CHECKPOINT} belongs to another bank or protocol; start without resume")
        learner.load_state_dict(state["learner"])
        optim.load_state_dict(state["optimizer"])
        done, best, misses, rows = state["done"], state["best"], state["misses"], state["rows"]
        best_weights = state["best_weights"]
        fabric._precision.load_state_dict(state["precision"])

    curve = TrainingCurve(folder if writes else None, rows)
    tasks, world, rank = settings.tasks_per_step, fabric.world_size, fabric.global_rank
    total = protocol.episodes
    sums: dict[str, Tensor] = {}
    steps_summed = 0
    stopped = settings.patience is not None and misses >= settings.patience
    learner.train()
    with TrainingProgress(total, done, enabled=show_progress and fabric.is_global_zero) as progress:
        while done < total and not stopped:
            rate = schedule(done, total)
            for group, base in zip(optim.param_groups, base_rates, strict=True):
                group["lr"] = base * rate
            torch.manual_seed(_mixed_seed(protocol.seed, done, rank))
            episodes = sampler.episodes(done + rank * (tasks // world), tasks // world)
            loss = wrapped(*(getattr(episodes, name) for name in Episodes.__dataclass_fields__))
            optim.zero_grad()
            fabric.backward(loss.total)
            if settings.gradient_clip is not None:
                fabric.clip_gradients(wrapped, optim, max_norm=settings.gradient_clip, error_if_nonfinite=False)
            optim.step()
            for name, value in (("loss", loss.total.detach()), *loss.parts.items(), ("train_accuracy", 100 * loss.accuracy)):
                sums[name] = sums.get(name, 0) + value.double()
            steps_summed += 1
            before, done = done, min(done + tasks, total)
            progress.tick(done)

            def due(every: int, before=before) -> bool:
                return every > 0 and (before // every != done // every or done == total)

            validate = validating and due(settings.validate_every)
            checkpoint = validate or due(settings.checkpoint_every)
            if not (checkpoint or due(settings.log_every)):
                continue
            means = {name: float(fabric.all_reduce(value / steps_summed)) for name, value in sums.items()}
            sums, steps_summed = {}, 0
            if not math.isfinite(means["loss"]):
                raise FewshotError(
                    f"the training loss is {means['loss']} at episode {done}; use a lower learning rate or trainer.precision=32"
                )
            row = {"episodes": done, **means, "learning_rate": optim.param_groups[0]["lr"]}
            if validating:
                row |= {"val_accuracy": None, "val_ci95": None, "best": None}
            if validate:
                found = evaluate(learner, validation_bank, validation_protocol) if fabric.is_global_zero else None
                accuracy, ci95 = fabric.broadcast((found.accuracy, found.ci95) if found else None)
                is_best = accuracy > best["accuracy"]
                row |= {"val_accuracy": accuracy, "val_ci95": ci95, "best": int(is_best)}
                misses = 0 if is_best else misses + 1
                if is_best:
                    best = {"accuracy": accuracy, "episodes": done}
                    best_weights = _copy_of(learner)
                    if writes:
                        save_weights(folder / BEST, learner, {**(facts or {}), "episodes": done, "val_accuracy": accuracy})
                stopped = settings.patience is not None and misses >= settings.patience
            curve.add(row, episodes_per_second=progress.rate(done))
            progress.row(row)
            if checkpoint and writes:
                state = {
                    "learner": learner.state_dict(),
                    "optimizer": optim.state_dict(),
                    "precision": fabric._precision.state_dict(),
                    "done": done,
                    "best": best,
                    "best_weights": best_weights,
                    "misses": misses,
                    "rows": curve.rows,
                    "bank": bank.fingerprint,
                    "protocol": protocol.as_dict(),
                }
                save_tree(folder / CHECKPOINT, state)
    curve.close()
    if writes:
        save_weights(folder / LAST, learner, {**(facts or {}), "episodes": done})
    if best_weights is None:
        best = {"accuracy": math.nan, "episodes": done}
        if writes:
            save_weights(folder / BEST, learner, {**(facts or {}), "episodes": done, "val_accuracy": None})
    else:
        learner.load_state_dict(best_weights)
    learner.eval()
    return TrainingResult(curve.rows, done, best["episodes"], best["accuracy"])


def save_weights(path: Path | str, learner: Learner, facts: dict) -> None:
    """Write a learner's weights and `facts` (plain JSON) to `path`, atomically."""
    save_tree(path, {"weights": learner.state_dict(), "facts": facts})


def load_weights(path: Path | str) -> tuple[dict[str, Tensor], dict]:
    """The weights and facts in `path`.

    Raises:
        FewshotError: the file is missing, damaged, or holds no weights.
    """
    tree = load_tree(path)
    if not isinstance(tree, dict) or "weights" not in tree:
        raise FewshotError(f"{path} holds no weights; give best.safetensors or last.safetensors of a run")
    return tree["weights"], tree["facts"]


def _copy_of(learner: Learner) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in learner.state_dict().items()}


def _mixed_seed(*numbers: int) -> int:
    return int.from_bytes(hashlib.sha256(repr(numbers).encode()).digest()[:7], "little")
