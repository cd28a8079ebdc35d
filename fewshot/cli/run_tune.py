"""`fewshot mode=tune`: the options of a head, chosen on validation classes."""

import itertools
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from fewshot.cli import recipe, recipe_checks, recipe_text
from fewshot.cli.run_folder import choose_run_folder
from fewshot.cli.typed import plain
from fewshot.data.bank import Bank
from fewshot.episodes.protocol import Protocol
from fewshot.errors import FewshotError
from fewshot.evaluation.accuracies import accuracy_text
from fewshot.evaluation.embedding import embed_bank
from fewshot.evaluation.scoring import evaluate
from fewshot.files import file_sha256, replacing, write_text
from fewshot.heads.feature_transform import bare
from fewshot.learners.feature_learner import FeatureLearner
from fewshot.learners.learner import Learner, check_tasks
from fewshot.training.curve import csv_text


def tuning_values(config: DictConfig, head: object) -> dict[str, list]:
    """Which values of which options of the head are tried: those of `tune`, or those of the head's paper.

    Raises:
        FewshotError: there are none, or they are no lists of options that the head has.
    """
    values = plain(config.tune, "tune")
    if values is None:
        part = bare(head)
        values = {name: list(choices) for name, choices in getattr(part, "tuned", {}).items()}
    known = [key for key in config.head if not str(key).startswith("_")]
    if not values:
        raise FewshotError(
            f"{recipe_text.describe_head(config.head)} names no values to try; give some, such as 'tune={{{(known or ['key'])[0]}: [...]}}'"
        )
    if not isinstance(values, dict):
        raise FewshotError(f"tune={values!r}; expected options with lists of values, such as {{weight: [0.1,0.5]}}")
    for name, choices in values.items():
        if name not in known:
            raise FewshotError(f"tune.{name}: this head has no such option (known: {', '.join(known)})")
        if not isinstance(choices, list) or not choices:
            raise FewshotError(f"tune.{name}={choices!r}; expected a list of values")
    return values


def tune(
    config: DictConfig,
    learner: Learner,
    bank: Bank,
    protocol: Protocol,
    classes: int | None,
    console: Console,
    base: Bank | None = None,
    trained: Mapping[str, torch.Tensor] | None = None,
) -> dict:
    """Score every combination of values on the same validation episodes and write down the best.

    Args:
        config: the whole configuration.
        learner: with trained weights; its head is replaced.
        bank: of validation classes.
        protocol: of the validation episodes.
        classes: that the learner was trained on.
        console: hears of the progress.
        base: the images of training, for a head that is fitted to them.
        trained: what training has learned in the head, which each head that is tried then gets.

    Returns:
        What `tuned.json` holds: the best values, their accuracy, and on what they were chosen.
    """
    # A learner that adapts its head to each task goes with the head that it was trained with.
    adapts = bool(trained) and learner.scores_frozen_features and hasattr(learner, "use_head")
    if not isinstance(learner, FeatureLearner) and not adapts:
        raise FewshotError(f"mode=tune: {type(learner).__name__} scores no frozen features, it has no head to tune")
    values = tuning_values(config, learner.head)
    tried = [dict(zip(values, combination, strict=True)) for combination in itertools.product(*values.values())]
    known = recipe.told(learner.backbone, classes, bank)
    # All of them are made before anything is written: a value out of range is found here.
    nodes = [OmegaConf.merge(config.head, options) for options in tried]
    heads = [recipe.make_head(node, known) for node in nodes]
    for head in heads:
        check_tasks(head, bank, protocol)
        if trained:
            _give(head, trained, list(values))
    if trained:
        recipe_checks.check_untrained_options([config.head, *nodes], known)
    digest = recipe_text.config_hash(config, file_sha256(config.checkpoint))
    folder = choose_run_folder(config.output, f"tune-{recipe_text.run_name(config)}", digest, resume=False)
    embedded = embed_bank(learner, bank) if bank.is_images else bank
    base_features = embed_bank(learner, base) if base is not None else None
    rows = []
    for options, head in zip(tried, heads, strict=True):
        learner.use_head(head)
        if learner.needs_base_classes:
            learner.set_base_classes(base_features)
        found = evaluate(learner, bank, protocol, embedded=embedded)
        rows.append(options | {"accuracy": found.accuracy, "ci95": found.ci95, "macro_accuracy": found.macro_accuracy})
        text = ", ".join(f"{name}={value}" for name, value in options.items())
        console.print(f"{text}  {accuracy_text(found.accuracy, found.ci95)}%")
    # Of equals the first: values stand in the order of the paper or of the command.
    best = max(range(len(rows)), key=lambda i: rows[i]["accuracy"])
    result = {
        "head": recipe_text.describe_head(config.head),
        "values": tried[best],
        "accuracy": rows[best]["accuracy"],
        "ci95": rows[best]["ci95"],
        "data": f"{bank.name}/{bank.split}",
        "protocol": str(protocol),
        "episodes": protocol.episodes,
        "episodes_sha256": found.episodes_sha256,
        "checkpoint": str(Path(config.checkpoint).resolve()),
    }
    write_text(folder / "config.yaml", OmegaConf.to_yaml(config, resolve=True))
    write_text(folder / "tuned.csv", csv_text(rows, header=True))
    _draw(rows, list(values), folder / "tuned.png", f"{result['head']}, {result['data']}, {protocol}")
    write_text(folder / "tuned.json", json.dumps(result, indent=1) + "\n")
    choice = " ".join(f"head.{name}={value}" for name, value in tried[best].items())
    console.print(
        f"best on {result['data']}, {protocol}: {choice}  ({accuracy_text(result['accuracy'], result['ci95'])}%)"
    )
    console.print(f"all values and their curve in {folder}")
    return result


def _give(head: torch.nn.Module, trained: Mapping[str, torch.Tensor], names: list[str]) -> None:
    """Put what was trained into a head that differs in the named options."""
    own = dict(bare(head).named_parameters())
    if {name: value.shape for name, value in own.items()} != {name: value.shape for name, value in trained.items()}:
        raise FewshotError(f"tune: {', '.join(names)} change the trained weights of the head; tune options that do not")
    for name, value in trained.items():
        own[name].data.copy_(value)


def _draw(rows: list[dict], names: list[str], path: Path, title: str) -> None:
    """Accuracy over the values of the first option, a line for each combination of the others."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    first, others = names[0], names[1:]
    lines: dict[tuple, list[dict]] = {}
    for row in rows:
        lines.setdefault(tuple(str(row[name]) for name in others), []).append(row)
    for key, line in lines.items():
        label = ", ".join(f"{name}={value}" for name, value in zip(others, key, strict=True))
        places = [str(row[first]) for row in line]
        axes.errorbar(
            places,
            [row["accuracy"] for row in line],
            yerr=[row["ci95"] for row in line],
            marker=".",
            capsize=2,
            label=label,
        )
    if others:
        axes.legend(frameon=False, fontsize=8)
    axes.set(xlabel=first, ylabel="accuracy (%), 95% interval")
    axes.grid(alpha=0.3)
    figure.suptitle(title, fontsize=9)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)
