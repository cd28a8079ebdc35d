"""The tests of a run: each planned one scored, drawn, written and put on the leaderboard."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from fewshot.cli.planned_tests import PlannedTest
from fewshot.cli.run_folder import has_row
from fewshot.cli.run_row import AboutRun, make_row
from fewshot.data.bank import Bank
from fewshot.evaluation.accuracies import save_accuracies
from fewshot.evaluation.diagnostics import diagnose
from fewshot.evaluation.diagnostics_picture import draw_diagnostics
from fewshot.evaluation.embedding import embed_bank
from fewshot.evaluation.evaluation import Evaluation
from fewshot.evaluation.geometry import geometry
from fewshot.evaluation.picture import draw_episode
from fewshot.evaluation.predictions import Predictions
from fewshot.evaluation.scoring import evaluate
from fewshot.files import write_text
from fewshot.leaderboard.row import Row
from fewshot.leaderboard.table import append
from fewshot.learners.learner import Learner
from fewshot.training.lightning import Fabric


def run_tests(
    config: DictConfig,
    learner: Learner,
    planned: Sequence[PlannedTest],
    base: Bank | None,
    about: AboutRun,
    folder: Path,
    fabric: Fabric,
    console: Console,
) -> list[dict]:
    """Score each planned test; the first process writes files and rows.

    Args:
        config: of the run.
        learner: trained, on the device of the run.
        planned: heads, banks and protocols.
        base: training images, for heads that are fitted to them.
        about: what rows say of the run.
        folder: of the run.
        fabric: of the processes; all call this.
        console: for what people read.

    Returns:
        The rows, in the first process; none in others.
    """
    diagnoses = bool(config.get("diagnostics"))
    # What is said of each query is gathered in one process.
    shared = fabric.world_size > 1 and not diagnoses
    if not (fabric.is_global_zero or shared):
        return []
    rows, embedded, base_features, shape = [], None, None, None
    trained_head = getattr(learner, "head", None)
    for test in planned:
        bank = test.bank
        again = embedded is not None and embedded[0] is bank
        reused = len(planned) > 1 or diagnoses
        if reused and not again and learner.scores_frozen_features and bank.is_images:
            embedded = bank, embed_bank(learner, bank, shared=shared)
            shape = geometry(embedded[1].items, embedded[1].labels) if diagnoses else None
        features = embedded and embedded[1]
        if config.heads is not None:
            learner.use_head(trained_head if test.head is None else test.head)
        if learner.needs_base_classes:
            if base_features is None:
                base_features = embed_bank(learner, base, shared=shared)
            learner.set_base_classes(base_features)
        said = Predictions() if diagnoses else None
        found = evaluate(learner, bank, test.protocol, embedded=features, observe=said, shared=shared)
        if not fabric.is_global_zero:
            continue
        row = make_row(config, found, test.head_text, about, folder)
        save_accuracies(folder / f"test_accuracies{test.label}.npy", found.accuracies)
        if said is not None:
            told = diagnose(learner.eval(), bank, features, found, said, shape)
            write_text(folder / f"diagnostics{test.label}.json", json.dumps(told, indent=1) + "\n")
            draw_diagnostics(told, folder / f"diagnostics{test.label}.png", f"{about.name} {test.head_text}: {found}")
        draw_episode(learner.eval(), bank, found.protocol, folder / f"episode{test.label}.png")
        _put(config, row, console)
        write_text(folder / f"row{test.label}.json", json.dumps(asdict(row), indent=1) + "\n")
        rows.append(asdict(row))
        _say(found, test.head_text if len(planned) > 1 else "", folder, console)
    if config.leaderboard and rows:
        count = "row" if len(rows) == 1 else f"{len(rows)} rows"
        console.print(f"{count} appended to {config.leaderboard}; fewshot-leaderboard show")
    return rows


def _put(config: DictConfig, row: Row, console: Console) -> None:
    # A run that was killed after its row was appended and before it said so is not counted twice.
    if not config.leaderboard or (config.resume and has_row(config.leaderboard, row)):
        return
    aside = append(config.leaderboard, row)
    if aside:
        console.print(f"{config.leaderboard} ended in half a row, which is in {aside} now")


def _say(found: Evaluation, head: str, folder: Path, console: Console) -> None:
    console.print(f"meta-test {head}{' ' if head else ''}{found}")
    console.print(
        f"{found.seconds:.1f} s, {found.episodes_per_second:.0f} episodes/s; pictures and accuracies in {folder}"
    )
