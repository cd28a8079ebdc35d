"""The row of a job that failed: what its configuration tells, and why there are no numbers."""

import math
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

import torch
from omegaconf import DictConfig

import fewshot
from fewshot.cli import checkpoint_config, recipe, recipe_text
from fewshot.cli.provenance import git_state
from fewshot.episodes.protocol import Protocol
from fewshot.errors import FewshotError
from fewshot.files import file_sha256
from fewshot.leaderboard.row import Row
from fewshot.training.checkpoint import load_weights

_LONGEST = 500


def reason_of(error: BaseException) -> str:
    """An error in one line: the text of a FewshotError, of others their kind too."""
    text = " ".join(str(error).split())[:_LONGEST]
    kind = type(error).__name__
    return text if isinstance(error, FewshotError) and text else f"{kind}: {text}".removesuffix(": ")


def failed_row(config: DictConfig, overrides: Iterable[str], reason: str, folder: Path) -> Row:
    """A row without numbers. What a broken configuration cannot tell stays empty.

    Args:
        config: of the job.
        overrides: what was typed for it.
        reason: one line.
        folder: where what the job printed lies.
    """
    config = _tried(lambda: _with_checkpoint(config, overrides), config)
    test = _tried(lambda: recipe.make_protocol(config, "test"), None)
    commit, dirty = git_state()

    def of_test(value: Callable[[Protocol], object], otherwise: object) -> object:
        return otherwise if test is None else value(test)

    return Row(
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        name=_tried(lambda: recipe_text.run_name(config), "failed"),
        data=_tried(lambda: str(config.data._target_).split(".")[-2], ""),
        split="",
        pipeline="",
        bank_fingerprint="",
        backbone=_tried(lambda: recipe_text.describe_backbone(config), ""),
        pretraining="",
        side_information="",
        learner=_tried(lambda: recipe_text.describe_learner(config), ""),
        head=_tried(lambda: recipe_text.describe_head(config.head), ""),
        loss=_tried(lambda: recipe_text.describe_training(config), ""),
        transductive=False,
        train_protocol=_tried(lambda: str(recipe.make_protocol(config, "train")), ""),
        train_data="",
        way=of_test(lambda protocol: protocol.way, None),
        shot=of_test(lambda protocol: protocol.shot_text, ""),
        query=of_test(lambda protocol: protocol.query, None),
        imbalance=of_test(lambda protocol: protocol.imbalance, ""),
        episodes=of_test(lambda protocol: protocol.episodes, None),
        episodes_sha256="",
        test_seed=of_test(lambda protocol: protocol.seed, None),
        seed=_tried(lambda: int(config.seed), None),
        accuracy=math.nan,
        ci95=math.nan,
        macro_accuracy=math.nan,
        ci_type="",
        seconds=math.nan,
        episodes_per_second=math.nan,
        device="",
        precision=_tried(lambda: str(config.trainer.precision), ""),
        fewshot_version=fewshot.__version__,
        torch_version=torch.__version__,
        git_commit=commit,
        git_dirty=dirty,
        config_hash=_tried(lambda: recipe_text.config_hash(config, file_sha256(config.checkpoint or config.init)), ""),
        run=str(Path(folder).resolve()),
        accuracies_sha256="",
        failed=reason,
    )


def _with_checkpoint(config: DictConfig, overrides: Iterable[str]) -> DictConfig:
    """As a test sees it, so that its hash is that of the row there would have been."""
    if config.mode != "test":
        return config
    return checkpoint_config.with_checkpoint(config, load_weights(config.checkpoint)[1]["config"], overrides)


def _tried(value: Callable[[], object], otherwise: object) -> object:
    try:
        return value()
    # Whatever made the job fail may make this fail too, and must not hide it.
    except Exception:
        return otherwise
