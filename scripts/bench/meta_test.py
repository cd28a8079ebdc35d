"""Meta-test tasks per second from images: 10,000 tasks of mini-ImageNet's 12,000 test images, beside easyfsl's way, task by task.

    python scripts/bench/meta_test.py [--theirs 8] [--rounds 5] [--threads 2]

Conv-4, prototypes, 5-way 1-shot 15-query. fewshot's turn is the whole `evaluate` of 10,000 tasks: draw, embed each image once, score. easyfsl's is its own `evaluate`
over its sampler and loader of images that lie decoded in memory, some tasks a turn; from files it would be slower. Beside it the other way that easyfsl has: its
`predict_embeddings` of all images, then its `evaluate` of all 10,000 tasks over its `FeaturesDataset`, as a whole. The same weights on all sides, each in a process of
its own.
"""

import argparse
import json
import random
import statistics
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader

from fewshot import Bank, Protocol, open_dataset
from fewshot.backbones.conv4 import Conv4
from fewshot.evaluation.scoring import evaluate
from fewshot.heads.prototype import PrototypeHead
from fewshot.learners.metric_learner import MetricLearner
from fewshot.losses.cross_entropy import CrossEntropy

sys.path.insert(0, str(Path(__file__).parent))
from command import add_folders, count, run
from peers import InMemory, easyfsl_sampler
from processes import compete, serve
from rounds import report

PROTOCOL = Protocol(5, 1, 15, episodes=10000)
WAYS = {
    "fewshot, 10,000 tasks": {"side": "fewshot"},
    "easyfsl 1.5.0, task by task": {"side": "easyfsl"},
    "easyfsl 1.5.0, 10,000 tasks, embedded once": {"side": "easyfsl", "once": True},
}


def test_bank(arguments: argparse.Namespace) -> Bank:
    return open_dataset("mini_imagenet", root=arguments.root, prepared=arguments.prepared).bank("test")


def network() -> Conv4:
    torch.manual_seed(0)
    return Conv4(3, image_size=84)


def turns_of(way: dict, arguments: argparse.Namespace) -> Callable[[], int]:
    """The turns of one side."""
    random.seed(0)
    warnings.filterwarnings("ignore")
    torch.set_num_threads(arguments.threads)
    bank = test_bank(arguments)
    if way["side"] == "fewshot":
        learner = MetricLearner(network(), PrototypeHead(), CrossEntropy())
        return lambda: len(evaluate(learner, bank, PROTOCOL).accuracies)
    from easyfsl import utils
    from easyfsl.datasets import FeaturesDataset
    from easyfsl.methods import PrototypicalNetworks
    from easyfsl.utils import evaluate as easyfsl_evaluate
    from easyfsl.utils import predict_embeddings

    data = InMemory(bank)
    if way.get("once"):
        backbone, scorer = network().eval(), PrototypicalNetworks(nn.Identity()).eval()
        # It shows a bar even where nobody asked for one.
        utils.tqdm = partial(utils.tqdm, disable=True)

        def whole() -> int:
            embedded = predict_embeddings(DataLoader(data, batch_size=128), backbone)
            features = FeaturesDataset.from_dataframe(embedded)
            sampler = easyfsl_sampler(features, PROTOCOL, PROTOCOL.episodes)
            loader = DataLoader(features, batch_sampler=sampler, collate_fn=sampler.episodic_collate_fn)
            easyfsl_evaluate(scorer, loader, device="cpu", use_tqdm=False)
            return PROTOCOL.episodes

        return whole
    model = PrototypicalNetworks(network()).eval()

    def turn() -> int:
        sampler = easyfsl_sampler(data, PROTOCOL, arguments.theirs)
        loader = DataLoader(data, batch_sampler=sampler, collate_fn=sampler.episodic_collate_fn)
        easyfsl_evaluate(model, loader, device="cpu", use_tqdm=False)
        return arguments.theirs

    return turn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--theirs", type=count, default=8, help="tasks of easyfsl a turn")
    parser.add_argument("--rounds", type=count, default=5)
    parser.add_argument("--threads", type=count, default=torch.get_num_threads())
    add_folders(parser)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(turns_of(json.loads(arguments.serve), arguments))
        return
    # What is missing is said before any side starts.
    test_bank(arguments)
    print(
        f"mini-ImageNet, {PROTOCOL}, Conv-4, torch {torch.__version__}, {arguments.threads} threads, "
        f"{arguments.rounds} interleaved rounds\n"
    )
    seconds = compete(WAYS, sys.argv[1:], arguments.rounds)
    report(seconds, "tasks")
    ours, theirs, once = (10000 * statistics.median(times) for times in seconds.values())
    print(f"\n10,000 tasks: {ours:,.1f} s, and {theirs:,.0f} s by easyfsl, {once:,.1f} s if it embeds once")


if __name__ == "__main__":
    run(main)
