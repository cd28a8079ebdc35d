"""Runs of the command on the CPU and on the pretended device, in a process of its own: `run_all.py LIBRARY NAME... < runs.json > outcomes.json`, those named with banks too large too."""

import contextlib
import json
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest import mock

import pandas as pd
import torch
from hydra import compose, initialize_config_dir

import fewshot.data.bank as fewshot_bank
from fewshot import (
    Protocol,
    PrototypeHead,
    Trainer,
    TrainingSettings,
    draw_embedding,
    draw_episode,
    embed_bank,
    evaluate,
    meta_train,
    open_head,
)
from fewshot.backbones.conv4 import Conv4
from fewshot.cli.run import run
from fewshot.learners.metric_learner import MetricLearner
from fewshot.losses.cross_entropy import CrossEntropy
from fewshot.resources import conf_folder
from tests.cli.other_device.pretend import NAME, pretend_gpu
from tests.conftest import make_bank


def numbers_of(overrides: list[str], device: str) -> list[float]:
    """The losses of a run's training, and the accuracies of its tests."""
    overrides = [*overrides, f"trainer.accelerator={device}", f"output=runs/{device}"]
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        config = compose("config", overrides=overrides)
    outcome = run(config, overrides)
    assert {row["device"] for row in outcome.rows} == {"cpu x1" if device == "cpu" else NAME}
    curve = outcome.folder / "metrics.csv"
    losses = pd.read_csv(curve).loss.tolist() if curve.is_file() else []
    return losses + [row["accuracy"] for row in outcome.rows]


def in_python(device: str) -> list[float]:
    """What a notebook does: the learner is where it was trained, the banks are on the CPU."""
    torch.manual_seed(0)
    train, test = make_bank(seed=0), make_bank(seed=1)
    learner = MetricLearner(Conv4(1, width=8, image_size=28), PrototypeHead(), CrossEntropy())
    protocol = Protocol(5, 1, 5, episodes=2)
    meta_train(
        learner,
        train,
        protocol,
        settings=TrainingSettings(validate_every=0),
        trainer=Trainer(device),
        show_progress=False,
    )
    features, base = embed_bank(learner, test), embed_bank(learner, train)
    assert features.device.type == next(learner.parameters()).device.type == ("cpu" if device == "cpu" else NAME)
    found = [evaluate(learner, test, protocol), evaluate(learner, test, protocol, embedded=features)]
    for name in ("nearest_centroid", "tim"):
        found.append(evaluate(open_head(name, bank=features), features, protocol, base=base))
    draw_episode(learner, test, protocol)
    draw_embedding(learner, test)
    return [one.accuracy for one in found]


def with_banks_too_large(made: Callable[[str], list[float]], device: str) -> list[float]:
    """The same on a GPU whose memory is too small for the banks."""
    with mock.patch.object(fewshot_bank, "has_room", return_value=False) as room:
        numbers = made(device)
    assert room.called
    return numbers


def outcome(made: Callable[[], list[float]]) -> list[float] | str:
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return made()
    except Exception:
        return traceback.format_exc()


def on_both(made: Callable[[str], list[float]]) -> list[list[float] | str]:
    return [outcome(partial(made, device)) for device in ("cpu", "auto")]


def main() -> None:
    torch.set_num_threads(1)
    pretend_gpu(Path(sys.argv[1]))
    ways = {name: partial(numbers_of, overrides) for name, overrides in json.load(sys.stdin).items()}
    ways["in Python"] = in_python
    outcomes = {name: on_both(made) for name, made in ways.items()}
    for name in sys.argv[2:]:
        there = outcome(partial(with_banks_too_large, ways[name], "auto"))
        outcomes[f"{name}, banks too large"] = [outcomes[name][0], there]
    json.dump(outcomes, sys.stdout)


if __name__ == "__main__":
    main()
