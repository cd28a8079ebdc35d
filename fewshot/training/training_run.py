"""One training: its steps, what changes while it goes on, and how that is saved and restored."""

import hashlib
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from fewshot.device import widest_float
from fewshot.episodes.episodes import Episodes
from fewshot.errors import FewshotError
from fewshot.learners.learner import Learner, TrainingLoss, as_training_loss
from fewshot.shared_work import same_buffers
from fewshot.training.base_features import tell_base_features
from fewshot.training.checkpoint import load_tree, save_tree, save_weights
from fewshot.training.curve import TrainingCurve
from fewshot.training.lightning import Fabric
from fewshot.training.parameter_groups import parameter_groups
from fewshot.training.progress import TrainingProgress
from fewshot.training.saturation import saturation_note
from fewshot.training.shared_batch_norm import share_batch_norms

CHECKPOINT, BEST, LAST = "checkpoint.safetensors", "best.safetensors", "last.safetensors"


class _Step(nn.Module):
    """The forward pass that Fabric and DDP wrap: tensors in, a training loss out."""

    def __init__(self, learner: Learner):
        super().__init__()
        self.learner = learner

    def forward(self, *parts: Tensor) -> TrainingLoss:
        return self.learner.training_loss(Episodes(*parts))


@dataclass
class _Means:
    """Running means of named scalars, kept on the device until they are asked for."""

    sums: dict[str, Tensor] = field(default_factory=dict)
    count: int = 0

    def add(self, loss: TrainingLoss) -> None:
        values = {"loss": loss.total.detach(), **loss.parts, "train_accuracy": 100 * loss.accuracy}
        self.sums = {
            name: self.sums.get(name, 0) + value.to(widest_float(value.device)) for name, value in values.items()
        }
        self.count += 1

    def take(self, fabric: Fabric) -> dict[str, float]:
        """The means over all processes; starts anew."""
        means = {name: float(fabric.all_reduce(value / self.count)) for name, value in self.sums.items()}
        self.sums, self.count = {}, 0
        return means


class TrainingRun:
    """One training run: what changes while it goes on, and how that is saved and restored."""

    def __init__(self, fabric, learner, sampler, base, optimizer, schedule, settings, trainer, facts):
        self.fabric, self.learner, self.sampler, self.base = fabric, learner, sampler, base
        self.schedule, self.settings, self.facts = schedule, settings, facts
        self.folder: Path | None = None
        if trainer.channels_last:
            learner.to(memory_format=torch.channels_last)
        if trainer.compile and hasattr(learner, "backbone"):
            learner.backbone.compile()
        learner.to(fabric.device)
        if fabric.world_size > 1:
            share_batch_norms(learner)
        groups = parameter_groups(learner, settings.rates)
        optim = optimizer([{"params": part} for part in groups.values()])
        self.base_rates = [factor * group["lr"] for factor, group in zip(groups, optim.param_groups, strict=True)]
        self.step_module, self.optim = fabric.setup(_Step(learner), optim)
        self.done, self.misses = 0, 0
        self.best = {"accuracy": -math.inf, "episodes": 0}
        self.best_weights: dict[str, Tensor] | None = None
        self.rows: list[dict] = []

    @property
    def writes(self) -> bool:
        return self.folder is not None and self.fabric.is_global_zero

    @property
    def stopped_early(self) -> bool:
        return self.settings.patience is not None and self.misses >= self.settings.patience

    def loop(self, validation: Callable | None, show_progress: bool) -> None:
        total, settings, fabric = self.sampler.protocol.episodes, self.settings, self.fabric
        curve = TrainingCurve(self.folder if self.writes else None, self.rows)
        means = _Means()
        self.learner.train()
        unit = "image" if self.learner.trains_on_images else "episode"
        shown = show_progress and fabric.is_global_zero
        with TrainingProgress(total, self.done, enabled=shown, unit=unit) as progress:
            if self.sampler.bank.device != fabric.device:
                progress.note("the images would fill the GPU's memory: they stay on the CPU, and each step's are moved")
            while self.done < total and not self.stopped_early:
                before = self.done
                means.add(self.step())
                self.done = before + settings.tasks_per_step
                progress.tick(self.done)
                due = partial(_crossed, before=before, now=self.done, total=total)
                validate = validation is not None and due(settings.validate_every)
                checkpoint = validate or due(settings.checkpoint_every)
                if not (checkpoint or due(settings.log_every)):
                    continue
                row = {"episodes": self.done, **means.take(fabric), "learning_rate": self.optim.param_groups[0]["lr"]}
                if not math.isfinite(row["loss"]):
                    raise FewshotError(
                        f"the training loss is {row['loss']} at episode {self.done}; use a lower learning rate "
                        f"or trainer.precision=32"
                    )
                if validation is not None:
                    row |= (
                        self.validate(validation) if validate else dict.fromkeys(("val_accuracy", "val_ci95", "best"))
                    )
                self.rows.append(row)
                curve.add(row, episodes_per_second=progress.rate(self.done))
                progress.row(row)
                if len(self.rows) == 1 and (note := self._note(row["loss"])):
                    progress.note(note)
                if checkpoint and self.writes:
                    save_tree(self.folder / CHECKPOINT, self.state())
        curve.close()

    def _note(self, loss: float) -> str | None:
        way = getattr(self.sampler.protocol, "way", None)
        return None if way is None else saturation_note(self.learner, loss, way)

    def step(self) -> TrainingLoss:
        """One optimiser step on the next tasks, shared by all processes."""
        protocol, fabric = self.sampler.protocol, self.fabric
        rate = self.schedule(self.done, protocol.episodes)
        for group, base in zip(self.optim.param_groups, self.base_rates, strict=True):
            group["lr"] = base * rate
        # Whatever a learner draws (dropout, mixing) is a function of the episode, so there is no state to save.
        torch.manual_seed(_mixed_seed(protocol.seed, self.done, fabric.global_rank))
        share = self.settings.tasks_per_step // fabric.world_size
        episodes = self.sampler.episodes(self.done + fabric.global_rank * share, share).to(fabric.device)
        loss = as_training_loss(self.step_module(*episodes.tensors()), self.learner)
        self.optim.zero_grad()
        fabric.backward(loss.total)
        if self.settings.gradient_clip is not None:
            fabric.clip_gradients(
                self.step_module, self.optim, max_norm=self.settings.gradient_clip, error_if_nonfinite=False
            )
        self.optim.step()
        return loss

    def validate(self, validation: Callable) -> dict:
        """Score on validation classes, keep the best weights; what the curve's row says about it."""
        same_buffers(self.learner)
        found = validation()
        accuracy, ci95 = self.fabric.broadcast((found.accuracy, found.ci95))
        is_best = accuracy > self.best["accuracy"]
        self.misses = 0 if is_best else self.misses + 1
        if is_best:
            self.best = {"accuracy": accuracy, "episodes": self.done}
            self.best_weights = {name: v.detach().cpu().clone() for name, v in self.learner.state_dict().items()}
            if self.writes:
                self.save(BEST, accuracy, self.done)
        return {"val_accuracy": accuracy, "val_ci95": ci95, "best": int(is_best)}

    def save(self, name: str, accuracy: float | None, episodes: int) -> None:
        facts = {**self.facts, "episodes": episodes, "val_accuracy": accuracy}
        save_weights(self.folder / name, self.learner.state_dict(), facts)

    def state(self) -> dict:
        """Everything that a resumed run needs."""
        return {
            "learner": self.learner.state_dict(),
            "optimizer": self.optim.state_dict(),
            "precision": self.fabric._precision.state_dict(),
            **self.belongs_to(),
            **{name: getattr(self, name) for name in ("done", "misses", "best", "best_weights", "rows")},
        }

    def belongs_to(self) -> dict:
        """What a run that goes on from a checkpoint must have in common with the one that wrote it."""
        defaults = {name: repr(value) for name, value in self.optim.defaults.items()}
        return {
            "bank": self.sampler.bank.fingerprint,
            "protocol": self.sampler.protocol.as_dict(),
            "settings": asdict(self.settings),
            "learner's weights": {name: list(value.shape) for name, value in self.learner.state_dict().items()},
            "optimizer's options": {"name": type(self.optim.optimizer).__name__} | defaults,
        }

    def restore(self) -> None:
        state = load_tree(self.folder / CHECKPOINT)
        for name, value in self.belongs_to().items():
            # Files of before say less.
            if name in state and state[name] != value:
                raise FewshotError(f"{self.folder / CHECKPOINT} belongs to another {name}; start without resume")
        self.learner.load_state_dict(state["learner"])
        self.optim.load_state_dict(state["optimizer"])
        self.fabric._precision.load_state_dict(state["precision"])
        for name in ("done", "misses", "best", "best_weights", "rows"):
            setattr(self, name, state[name])

    def finish(self) -> None:
        """Write the last weights and the best ones, each with its base features; the learner ends with the best."""
        same_buffers(self.learner)
        tell_base_features(self.learner, self.base)
        if self.writes:
            self.save(LAST, None, self.done)
        accuracy = None if self.best_weights is None else self.best["accuracy"]
        if self.best_weights is None:
            self.best = {"accuracy": math.nan, "episodes": self.done}
        elif self.best["episodes"] != self.done:
            self.learner.load_state_dict(self.best_weights)
            tell_base_features(self.learner, self.base)
        if self.writes:
            self.save(BEST, accuracy, self.best["episodes"])
        self.learner.eval()


def _crossed(every: int, before: int, now: int, total: int) -> bool:
    """Whether a multiple of `every` lies in (before, now], or training has ended."""
    return every > 0 and (before // every != now // every or now == total)


def _mixed_seed(*numbers: int) -> int:
    return int.from_bytes(hashlib.sha256(repr(numbers).encode()).digest()[:7], "little")
