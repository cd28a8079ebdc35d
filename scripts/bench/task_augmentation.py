"""Training steps per second with each task augmentation and without, on random images; the ways take turns.

    python scripts/bench/task_augmentation.py [--size 28] [--tasks 4] [--shot 1] [--rounds 5] [--maml]

The ratio beside the first line's is what a step costs more.
"""

import argparse
import sys
from pathlib import Path

import torch

from fewshot.backbones.conv4 import Conv4
from fewshot.device import keep_freed_memory
from fewshot.episodes.episodes import Episodes
from fewshot.heads.linear import LinearHead
from fewshot.heads.prototype import PrototypeHead
from fewshot.learners.gradient.maml import MAML
from fewshot.learners.learner import Learner
from fewshot.learners.metric_learner import MetricLearner
from fewshot.losses.cross_entropy import CrossEntropy
from fewshot.task_augmentation.augmentation import TaskAugmentation
from fewshot.task_augmentation.class_rotation import ClassRotation
from fewshot.task_augmentation.interval_bounds import IntervalBounds
from fewshot.task_augmentation.mlti import MLTI
from fewshot.task_augmentation.task_mixup import TaskMixup

sys.path.insert(0, str(Path(__file__).parent))
from command import count, run
from rounds import interleaved, report, wait_for

_STEPS = 1
WAYS = {
    "none": lambda: None,
    "mlti, CutMix of images": lambda: MLTI(),
    "mlti, linear, images": lambda: MLTI(input="linear"),
    "mlti, behind block 1": lambda: MLTI(levels=[1]),
    "mlti, behind block 3": lambda: MLTI(levels=[3]),
    "class_rotation": lambda: ClassRotation(),
    "task_mixup, behind block 1": lambda: TaskMixup(),
    "interval_bounds, 1 block": lambda: IntervalBounds(ramp=0.0),
    "interval_bounds, 1 block, no task in between": lambda: IntervalBounds(ramp=0.0, beta=None),
    "interval_bounds, 2 blocks": lambda: IntervalBounds(blocks=2, ramp=0.0),
}


def learner_of(augmentation: TaskAugmentation | None, size: int, channels: int, maml: bool) -> Learner:
    torch.manual_seed(0)
    backbone = Conv4(channels, image_size=size)
    head = LinearHead(backbone.feature_size, 5) if maml else PrototypeHead()
    learner = MetricLearner(backbone, head, CrossEntropy(), augmentation)
    return MAML(learner, steps=5) if maml else learner


def steps_of(learner: Learner, episodes: Episodes):
    learner.to(episodes.device, memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(learner.parameters(), 1e-3)

    def work() -> int:
        for _ in range(_STEPS):
            loss = learner.training_loss(episodes).total
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        wait_for(episodes.device)
        return _STEPS

    return work


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("size", 28), ("tasks", 4), ("shot", 1), ("query", 15), ("rounds", 5), ("threads", 1)):
        parser.add_argument(f"--{name}", type=count, default=default)
    parser.add_argument("--maml", action="store_true")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(options.threads)
    channels = 1 if options.size == 28 else 3
    labels = [torch.arange(5).repeat_interleave(n).expand(options.tasks, -1) for n in (options.shot, options.query)]
    items = [
        torch.rand(options.tasks * part.shape[1], channels, options.size, options.size)
        .contiguous(memory_format=torch.channels_last)
        .unflatten(0, part.shape)
        for part in labels
    ]
    classes = torch.arange(5).expand(options.tasks, -1)
    episodes = Episodes(items[0], labels[0], items[1], labels[1], classes).to(options.device)
    ways = {name: make for name, make in WAYS.items() if not options.maml or name.startswith(("none", "mlti", "class"))}
    competitors = {
        name: steps_of(learner_of(make(), options.size, channels, options.maml), episodes)
        for name, make in ways.items()
    }
    report(interleaved(competitors, options.rounds), "steps")


if __name__ == "__main__":
    run(main)
