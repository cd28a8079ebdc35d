"""`fewshot-leaderboard rerun`: do a row's run again."""

import argparse
from collections.abc import Mapping

import pandas as pd
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fewshot.cli import recipe_text
from fewshot.cli.open_board import make_console, places, read_board
from fewshot.cli.provenance import git_state
from fewshot.cli.run import run
from fewshot.errors import FewshotError
from fewshot.files import file_sha256
from fewshot.leaderboard.choose import rows_named
from fewshot.leaderboard.run_files import run_files
from fewshot.training.checkpoint import load_weights


def rerun(arguments: argparse.Namespace) -> int:
    """Exit code 1 if the number is another.

    Raises:
        FewshotError: the row is not one, other code runs here than made it, or what decides its numbers has changed.
    """
    board = read_board(arguments.csv)
    rows = rows_named(board, arguments.row)
    if len(rows) > 1:
        some = ", ".join(f"{row['row']} ({row['head']}, seed {row['seed']})" for _, row in rows.head(6).iterrows())
        raise FewshotError(f"{arguments.row!r} means {len(rows)} rows: {some}; give a number")
    row = rows.iloc[0]
    console = make_console()
    for words in _check_commit(row, arguments.any_commit):
        console.print(words, markup=False, soft_wrap=True)
    files = run_files(row, places(arguments))
    if not files.config.is_file():
        raise FewshotError(f"{files.config} is missing; the run cannot be repeated without it")
    config = _changed(OmegaConf.load(files.config), arguments.changes)
    config.output, config.leaderboard, config.resume, config.skip_existing = arguments.output, None, False, False
    # Runs of older versions do not say it.
    config.diagnostics = False
    overrides = _typed_before(config) if config.mode == "test" else []
    weights = config.checkpoint or config.init
    digest = recipe_text.config_hash(config, file_sha256(weights))
    if digest != row["config_hash"]:
        raise FewshotError(
            f"the configuration of row {row['row']} has the hash {row['config_hash'][:8]}, what would run here {digest[:8]}; "
            f"the weights in {weights} or a default of this version of fewshot have changed"
        )
    made = [new for new in run(config, overrides).rows if _same_test(row, new)]
    if not made:
        raise FewshotError(f"the run made no row of {row['head']} on the episodes of row {row['row']}")
    new = made[0]
    same = new["accuracy"] == row["accuracy"] and new["ci95"] == row["ci95"]
    words = "the same" if same else f"ANOTHER, by {new['accuracy'] - row['accuracy']:+.4g} points"
    console.print(
        f"row {row['row']} said {float(row['accuracy'])} ± {float(row['ci95'])}, now {new['accuracy']} ± {new['ci95']}: {words}",
        markup=False,
        soft_wrap=True,
    )
    if not same and new["device"] != row["device"]:
        console.print(f"it was made on {row['device']}, this is {new['device']}: sums in another order", markup=False)
    return 0 if same else 1


def _check_commit(row: pd.Series, any_commit: bool) -> list[str]:
    """What is to be said of the code; a FewshotError if it is not the row's and that was not allowed."""
    commit, dirty = git_state()
    differs = []
    if commit != row["git_commit"]:
        differs.append(f"the row is of commit {row['git_commit'][:8] or 'unknown'}, here is {commit[:8] or 'unknown'}")
    if dirty or row["git_dirty"] is pd.NA or row["git_dirty"]:
        differs.append("files differ from the commit, " + ("here" if dirty else "or may have, when the row was made"))
    if differs and not any_commit:
        raise FewshotError(f"{'; '.join(differs)}: check out that commit, or say --any-commit")
    return differs


def _changed(config: DictConfig, changes: list[str]) -> DictConfig:
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals or OmegaConf.select(config, key, default=None, throw_on_missing=False) is None:
            raise FewshotError(
                f"{change!r}; expected KEY=VALUE with a key of the run's config.yaml, such as data.root=/data"
            )
        try:
            OmegaConf.update(config, key, OmegaConf.from_dotlist([f"value={value}"]).value)
        except OmegaConfBaseException as error:
            raise FewshotError(f"{change!r}: {str(error).splitlines()[0]}") from error
    return config


def _typed_before(config: DictConfig) -> list[str]:
    """What the command line of a test must have had beyond its checkpoint, as overrides `key=`."""
    stored = load_weights(config.checkpoint)[1].get("config", {})
    before, now = OmegaConf.create(stored), config
    keys = []
    for key in ("data", "backbone", "head", "learner", "episodes.test", "name"):
        one = OmegaConf.select(before, key, default=None, throw_on_resolution_failure=False)
        other = OmegaConf.select(now, key, default=None)
        if _plain(one) != _plain(other):
            keys.append(f"{key}=")
    return keys


def _plain(value: object) -> object:
    return OmegaConf.to_container(value, resolve=False) if OmegaConf.is_config(value) else value


def _same_test(row: Mapping, new: Mapping) -> bool:
    return all(row[name] == new[name] for name in ("data", "head", "imbalance", "episodes_sha256", "bank_fingerprint"))
