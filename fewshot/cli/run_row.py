"""What a test found and what is known of the run, as a row of a leaderboard."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from omegaconf import DictConfig

import fewshot
from fewshot.cli import recipe_text
from fewshot.cli.provenance import git_state
from fewshot.cli.side_information import joined
from fewshot.data.manifest import in_imagenet
from fewshot.device import device_name
from fewshot.evaluation.accuracies import accuracies_sha256
from fewshot.evaluation.scoring import Evaluation
from fewshot.leaderboard.row import Row


def _with_leak(pretraining: str, data: str) -> str:
    """Weights of torchvision and timm stem from ImageNet, or from collections that hold it."""
    leaks = pretraining.startswith(("imagenet", "timm ")) and in_imagenet(data)
    return f"{pretraining} (leaks novel classes)" if leaks else pretraining


@dataclass(frozen=True)
class AboutRun:
    """What is known of a run beside its configuration and what its tests found.

    Args:
        name: of the run.
        digest: of its configuration.
        training: what the weights' file says of their training; empty if nothing was trained.
        pretraining: what the weights stem from.
        side_information: what else than images training used.
    """

    name: str
    digest: str
    training: dict
    pretraining: str
    side_information: str


def make_row(config: DictConfig, found: Evaluation, head: str, about: AboutRun, folder: Path) -> Row:
    """The row of one test.

    Args:
        config: of the run.
        found: by the test.
        head: what it scored with.
        about: the run.
        folder: of the run.
    """
    commit, dirty = git_state()
    return Row(
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        name=about.name,
        data=found.data,
        split=found.split,
        pipeline=found.pipeline,
        bank_fingerprint=found.bank_fingerprint,
        backbone=recipe_text.describe_backbone(config),
        pretraining=_with_leak(about.pretraining, found.data),
        side_information=joined(found.side_information, about.side_information, "training"),
        learner=recipe_text.describe_learner(config),
        head=head,
        loss=recipe_text.describe_training(config),
        transductive=found.transductive,
        train_protocol=about.training.get("train_protocol", ""),
        train_data=about.training.get("train_data", ""),
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
        macro_accuracy=found.macro_accuracy,
        ci_type="t",
        seconds=round(found.seconds, 3),
        episodes_per_second=round(found.episodes_per_second, 1),
        device=device_name(found.device),
        precision=about.training.get("precision", "32"),
        fewshot_version=fewshot.__version__,
        torch_version=torch.__version__,
        git_commit=commit,
        git_dirty=dirty,
        config_hash=about.digest,
        run=str(Path(folder).resolve()),
        accuracies_sha256=accuracies_sha256(found.accuracies),
    )
