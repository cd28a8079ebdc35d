"""`Outcome`: what a run left, or what one of the same configuration left before it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import DictConfig

from fewshot.cli.planned_tests import PlannedTest
from fewshot.errors import FewshotError
from fewshot.leaderboard.table import read
from fewshot.training.checkpoint import load_weights
from fewshot.training.training_run import BEST


@dataclass(frozen=True)
class Outcome:
    """What a run left.

    Args:
        rows: of the leaderboard.
        folder: of the run; None where it has none.
        existed: whether all of it was there before.
    """

    rows: list[dict] = field(default_factory=list)
    folder: Path | None = None
    existed: bool = False

    def validation_accuracy(self) -> float | None:
        """Of the kept weights on validation classes, in percent; None without training or validation."""
        if self.folder is None or not (self.folder / BEST).is_file():
            return None
        return load_weights(self.folder / BEST)[1].get("val_accuracy")


def check_skips(config: DictConfig) -> None:
    """Raise a FewshotError if `skip_existing` is asked for where there can be no rows."""
    if not isinstance(config.skip_existing, bool):
        raise FewshotError(f"skip_existing={config.skip_existing}; expected true or false")
    if not config.skip_existing:
        return
    if config.mode not in ("train_and_test", "test"):
        raise FewshotError(f"skip_existing=true looks for rows, and mode={config.mode} makes none; leave it out")
    if not config.leaderboard:
        raise FewshotError("skip_existing=true looks for rows, and leaderboard=null keeps none; leave it out")


def existing_rows(leaderboard: Path | str, digest: str, planned: Iterable[PlannedTest]) -> list[dict] | None:
    """The newest row of each planned test, with its number in the file as `row`; None if one of them has none.

    Args:
        leaderboard: a file that may not be there.
        digest: of the configuration.
        planned: tests of the run.
    """
    if not Path(leaderboard).exists():
        return None
    frame = read(leaderboard)
    frame = frame[frame["config_hash"] == digest]
    found = []
    for test in planned:
        same = (frame["head"] == test.head_text) & (frame["bank_fingerprint"] == test.bank.fingerprint)
        rows = frame[same & (frame["imbalance"] == test.protocol.imbalance)]
        if rows.empty:
            return None
        found.append(rows.iloc[-1].to_dict() | {"row": int(rows.index[-1]) + 1})
    return found
