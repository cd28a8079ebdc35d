"""`fewshot mode=generalised`: seen and unseen classes together, with the seen-unseen curve."""

import json
from pathlib import Path

import numpy as np
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from fewshot.cli import recipe_text
from fewshot.cli.run_folder import choose_run_folder
from fewshot.cli.typed import plain
from fewshot.data.bank import Bank
from fewshot.episodes.protocol import Protocol
from fewshot.errors import FewshotError
from fewshot.evaluation.embedding import embed_bank
from fewshot.evaluation.generalised import Generalised, evaluate_generalised
from fewshot.evaluation.intervals import mean_interval
from fewshot.evaluation.seen_unseen import curve_rows, random_area
from fewshot.files import file_sha256, replacing, write_text
from fewshot.learners.learner import Learner
from fewshot.training.curve import csv_text


def generalised(
    config: DictConfig,
    learner: Learner,
    base: tuple[Bank, Bank],
    validation: Bank,
    novel: Bank,
    protocol: Protocol,
    console: Console,
) -> dict:
    """Score held-out images of seen classes and images of unseen ones among all classes; write curve, picture and summary.

    Args:
        config: the whole configuration.
        learner: with trained weights.
        base: images that were trained on, and those of the same classes that were held out.
        validation: classes that choose gamma.
        novel: classes that are tested.
        protocol: of the test, for its shots and its seed.
        console: hears of the result.

    Returns:
        What `generalised.json` holds.
    """
    tasks = _tasks(config)
    if not isinstance(protocol.shot, int):
        raise FewshotError(
            f"episodes.test.shot={list(protocol.shot)}: mode=generalised takes one number for all classes"
        )
    trained, held_out = base
    digest = recipe_text.config_hash(config, file_sha256(config.checkpoint))
    features = [embed_bank(learner, bank) for bank in (held_out, validation, novel)]
    base_features = embed_bank(learner, trained) if protocol.shot or learner.needs_base_classes else None
    if learner.needs_base_classes:
        learner.set_base_classes(base_features)
    found = evaluate_generalised(learner, base_features, *features, protocol.shot, tasks, protocol.seed)
    seen, unseen = held_out.num_classes, novel.num_classes
    result = {
        "head": recipe_text.describe_head(config.head),
        "seen": f"{held_out.name}/{held_out.split}",
        "unseen": f"{novel.name}/{novel.split}",
        "validation": f"{validation.name}/{validation.split}",
        "seen_classes": seen,
        "unseen_classes": unseen,
        "shot": protocol.shot,
        "tasks": len(found),
        "seed": protocol.seed,
        "random_ausuc": random_area(seen, unseen),
        **_means(found),
        "fingerprints": {name: bank.fingerprint for name, bank in (("seen", held_out), ("unseen", novel))},
        "checkpoint": str(Path(config.checkpoint).resolve()),
    }
    folder = choose_run_folder(config.output, f"generalised-{recipe_text.run_name(config)}", digest, resume=False)
    write_text(folder / "config.yaml", OmegaConf.to_yaml(config, resolve=True))
    rows = [row for task, one in enumerate(found) for row in curve_rows(one.curve, task=task)]
    write_text(folder / "curve.csv", csv_text(rows, header=True))
    title = f"{result['head']}, {seen} seen and {unseen} unseen classes of {novel.name}, {protocol.shot}-shot"
    _draw(found, seen, unseen, folder / "curve.png", f"{title}: AUSUC {result['ausuc']:.3f}")
    write_text(folder / "generalised.json", json.dumps(result, indent=1) + "\n")
    _say(result, console)
    console.print(f"curve, picture and summary in {folder}")
    return result


def _tasks(config: DictConfig) -> int:
    options = plain(config.generalised, "generalised")
    tasks = options.get("tasks") if isinstance(options, dict) else None
    if isinstance(tasks, bool) or not isinstance(tasks, int) or tasks < 1:
        raise FewshotError(f"generalised={options!r}; expected {{tasks: N}} with a whole number of at least 1")
    return tasks


def _means(found: list[Generalised]) -> dict[str, float]:
    """Means over draws of the shots, each with its interval where there are several."""
    numbers = [one.numbers() for one in found]
    result = {}
    for name in numbers[0]:
        mean, half_width = mean_interval(np.array([row[name] for row in numbers]))
        result[name] = mean
        if len(found) > 1:
            result[f"{name}_ci95"] = half_width
    return result


def _say(result: dict, console: Console) -> None:
    def of(name: str, digits: int = 2) -> str:
        interval = f" ± {result[f'{name}_ci95']:.{digits}f}" if f"{name}_ci95" in result else ""
        return f"{result[name]:.{digits}f}{interval}"

    console.print(
        f"AUSUC {of('ausuc', 4)} (random {result['random_ausuc']:.4f}) of {result['unseen']} and {result['seen']}, "
        f"{result['shot']}-shot, {result['tasks']} {'draw' if result['tasks'] == 1 else 'draws'}"
    )
    console.print(
        f"among their own: unseen {of('unseen_alone')}% (chance {100 / result['unseen_classes']:.2f}), "
        f"seen {of('seen_alone')}% (chance {100 / result['seen_classes']:.2f})"
    )
    for name, text in (("plain", "gamma 0"), ("calibrated", f"gamma {result['gamma']:.4g} of {result['validation']}")):
        console.print(
            f"among all, {text}: unseen {of(f'{name}_unseen')}%, seen {of(f'{name}_seen')}%, "
            f"harmonic mean {of(f'{name}_harmonic')}%"
        )


def _draw(found: list[Generalised], seen: int, unseen: int, path: Path, title: str) -> None:
    """The curve of each draw, with plain stacking and the gamma of validation on it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6, 4.6), layout="constrained")
    axes = figure.subplots()
    for number, one in enumerate(found):
        curve = one.curve
        axes.plot(100 * curve.unseen, 100 * curve.seen, color="tab:blue", alpha=max(0.3, 1 / len(found)), lw=1.2)
        for gamma, marker, colour, text in (
            (0.0, "o", "tab:red", "gamma 0"),
            (one.gamma, "s", "tab:green", "gamma of validation classes"),
        ):
            at_seen, at_unseen = curve.at(gamma)
            axes.plot(100 * at_unseen, 100 * at_seen, marker, color=colour, label=None if number else text)
    axes.plot([0, 100 / unseen], [100 / seen, 0], ":", color="grey", label="random scores")
    axes.set(xlabel="accuracy on unseen classes among all (%)", ylabel="accuracy on seen classes among all (%)")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=8)
    figure.suptitle(title, fontsize=9)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)
