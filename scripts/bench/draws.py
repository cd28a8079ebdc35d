"""Episodes drawn per second: indices alone, and tasks of features that prototypes score, beside easyfsl and learn2learn.

    python scripts/bench/draws.py [--features 512] [--batch 64] [--rounds 5] [--threads 1]

5-way 1-shot 15-query tasks of 20 classes with 600 items each, the size of mini-ImageNet's test split. The second table is the whole way from features
to accuracies by prototypes: ours `evaluate`, easyfsl's its `evaluate` over a loader of its `FeaturesDataset`.
"""

import argparse
import sys
import warnings
from pathlib import Path

import torch
from easyfsl.datasets import FeaturesDataset
from easyfsl.methods import PrototypicalNetworks
from easyfsl.utils import evaluate as easyfsl_evaluate
from torch import nn
from torch.utils.data import DataLoader, Dataset

from fewshot import Bank, EpisodeSampler, Protocol
from fewshot.device import keep_freed_memory
from fewshot.evaluation.scoring import evaluate
from fewshot.heads.prototype import PrototypeHead
from fewshot.learners.metric_learner import MetricLearner
from fewshot.losses.cross_entropy import CrossEntropy

sys.path.insert(0, str(Path(__file__).parent))
from command import count, run
from peers import easyfsl_sampler, learn2learn_tasks
from rounds import interleaved, report


class Numbers(Dataset):
    """A data set whose items are their own numbers: drawing them costs nothing but the draw."""

    def __init__(self, labels: list[int]):
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return torch.tensor(index), self.labels[index]

    def get_labels(self) -> list[int]:
        return self.labels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--features", type=count, default=512, help="numbers of an item")
    parser.add_argument("--batch", type=count, default=64, help="tasks that we draw at a time")
    parser.add_argument("--rounds", type=count, default=5)
    parser.add_argument("--threads", type=count, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    keep_freed_memory()
    warnings.filterwarnings("ignore")
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(20).repeat_interleave(600)
    items = (torch.randn(20, arguments.features, generator=generator)[labels] + 2 * torch.randn(len(labels), arguments.features, generator=generator)).relu()  # fmt: skip
    bank = Bank(items, labels, [str(i) for i in range(20)])
    protocol = Protocol(5, 1, 15)
    sampler, numbers = EpisodeSampler(bank, protocol), Numbers(labels.tolist())
    unchanged = nn.Identity()
    unchanged.feature_size = arguments.features
    learner = MetricLearner(unchanged, PrototypeHead(), CrossEntropy())
    turn = [0]

    def drawn(batch: int, count: int):
        def work() -> int:
            for _ in range(count // batch):
                sampler.indices(turn[0], batch)
                turn[0] += batch
            return count // batch * batch

        return work

    def theirs() -> int:
        return sum(1 for _ in easyfsl_sampler(numbers, protocol, 400))

    tasks = learn2learn_tasks(numbers, protocol)

    def learn2learn() -> int:
        for _ in range(20):
            tasks.sample()
        return 20

    print(
        f"5-way 1-shot 15-query of 20 classes with 600 items, torch {torch.__version__}, {arguments.threads} threads, {arguments.rounds} rounds\n"
    )
    print("indices")
    seconds = interleaved(
        {
            f"fewshot, {arguments.batch} tasks at a time": drawn(arguments.batch, 40000),
            "fewshot, 1 task at a time": drawn(1, 4000),
            "easyfsl 1.5.0": theirs,
            "learn2learn 0.2.0, numbers for items": learn2learn,
        },
        arguments.rounds,
    )
    report(seconds, "episodes")

    def scored() -> int:
        turn[0] += 1
        return len(evaluate(learner, bank, Protocol(5, 1, 15, episodes=10000, seed=turn[0])).accuracies)

    features = FeaturesDataset(labels.tolist(), items, bank.class_names)

    def scored_by_easyfsl() -> int:
        mended = easyfsl_sampler(features, protocol, 200)
        loader = DataLoader(features, batch_sampler=mended, collate_fn=mended.episodic_collate_fn)
        easyfsl_evaluate(PrototypicalNetworks(nn.Identity()), loader, device="cpu", use_tqdm=False)
        return 200

    print(f"\nfrom {arguments.features} features to accuracies by prototypes")
    ways = {"fewshot, 10,000 tasks": scored, "easyfsl 1.5.0": scored_by_easyfsl}
    report(interleaved(ways, arguments.rounds), "tasks")


if __name__ == "__main__":
    run(main)
