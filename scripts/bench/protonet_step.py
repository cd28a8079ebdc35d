"""Training steps per second of Prototypical Networks with Conv-4: fewshot's loop, its bare backbone, plain PyTorch and the peers.

    python scripts/bench/protonet_step.py [--data mini_imagenet] [--way 5] [--shot 5] [--query 15] [--rounds 5] [--steps 3]

A step is one task: images drawn from memory and normalised, forward, loss, backward, Adam. fewshot's is its whole `meta_train`, which waits
for its turn between two steps. `bare backbone` is the same network in the same layout on a tensor of random numbers, drawn once: what is left of
the time is the framework's. `plain` is the loop of a tutorial: a random task by indexing, the network in torch's own layout, ReLU before pooling. The
peers deliver the same images from memory by their own samplers and loaders and score them in their own way. Each in a process of its own, in turns.
"""

import argparse
import json
import random
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from fewshot import Bank, Protocol, open_dataset
from fewshot.backbones.conv4 import Conv4
from fewshot.device import device_name, keep_freed_memory
from fewshot.errors import FewshotError
from fewshot.heads.prototype import PrototypeHead
from fewshot.learners.metric_learner import MetricLearner
from fewshot.losses.cross_entropy import CrossEntropy
from fewshot.training.fabric import Trainer
from fewshot.training.meta_train import meta_train

sys.path.insert(0, str(Path(__file__).parent))
from command import add_folders, count, run
from peers import InMemory, easyfsl_sampler, learn2learn_tasks
from processes import compete, serve, wait_for_turn
from rounds import report, wait_for

WAYS = {
    "fewshot": {"side": "fewshot"},
    "bare backbone, random tensor": {"side": "bare"},
    "plain PyTorch": {"side": "plain"},
    "learn2learn, in memory": {"side": "learn2learn"},
    "easyfsl, in memory": {"side": "easyfsl"},
    "fewshot, bf16": {"side": "fewshot", "precision": "bf16"},
    "bare backbone, bf16": {"side": "bare", "precision": "bf16"},
}


def here() -> torch.device:
    """Of all sides: a GPU of NVIDIA, where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def bank_of(arguments: argparse.Namespace) -> Bank:
    """The training classes, or as many random images where the data set is not prepared."""
    try:
        return open_dataset(arguments.data, root=arguments.root, prepared=arguments.prepared).bank("train")
    except FewshotError as error:
        if arguments.data not in ("mini_imagenet", "omniglot"):
            raise
        if not arguments.serve:
            print(f"{error}; random images instead", file=sys.stderr)
        shape = (1, 28, 28) if arguments.data == "omniglot" else (3, 84, 84)
        items = torch.randint(0, 256, (64 * 100, *shape), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
        return Bank(items, torch.arange(64).repeat_interleave(100), [str(i) for i in range(64)], name="random images")


def serve_fewshot(bank: Bank, protocol: Protocol, steps: int, precision: str) -> None:
    """Turns of `meta_train` in the main thread, as people run it: its schedule, which is asked once a step, waits for them."""
    left, begun = 0, False

    def schedule(done: int, total: int) -> float:
        nonlocal left, begun
        if left == 0:
            wait_for(bank.device)
            wait_for_turn(steps if begun else None)
            left, begun = steps, True
        left -= 1
        return 1.0

    channels, _, side = bank.items.shape[1:]
    learner = MetricLearner(Conv4(channels, image_size=side), PrototypeHead(), CrossEntropy())
    endless = Protocol(protocol.way, protocol.shot, protocol.query, episodes=10**7)
    trainer = Trainer(here().type, precision=precision, threads=torch.get_num_threads())
    meta_train(learner, bank, endless, schedule=schedule, trainer=trainer, show_progress=False)


def of_bare_backbone(bank: Bank, protocol: Protocol, steps: int, precision: str) -> Callable[[], int]:
    """Forward, backward and Adam on random numbers."""
    keep_freed_memory()
    net = (
        Conv4(bank.items.shape[1], image_size=bank.items.shape[-1])
        .to(bank.device)
        .to(memory_format=torch.channels_last)
    )
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    count = protocol.way * (protocol.shot + protocol.query)
    images = torch.rand(count, *bank.items.shape[1:], device=bank.device).contiguous(memory_format=torch.channels_last)

    def turn() -> int:
        for _ in range(steps):
            with torch.autocast(bank.device.type, torch.bfloat16, enabled=precision == "bf16"):
                loss = net(images).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        wait_for(bank.device)
        return steps

    return turn


def usual_conv4(channels: int) -> nn.Sequential:
    """As it is mostly written."""
    blocks = [
        nn.Sequential(nn.Conv2d(channels if i == 0 else 64, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2))
        for i in range(4)
    ]  # fmt: skip
    return nn.Sequential(*blocks, nn.Flatten())


def of_loop(
    net: nn.Module, protocol: Protocol, steps: int, tasks: Callable[[], tuple[Tensor, Tensor]], score
) -> Callable[[], int]:
    """A loop over `tasks()`, support and query images sorted by class, scored by `score(support, query)`."""
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    labels = torch.arange(protocol.way).repeat_interleave(protocol.query)

    def turn() -> int:
        for _ in range(steps):
            support, query = tasks()
            loss = cross_entropy(score(support, query), labels.to(query.device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        wait_for(query.device)
        return steps

    return turn


def of_plain(bank: Bank, protocol: Protocol, steps: int) -> Callable[[], int]:
    """Indexing, torch's layout, one forward pass of all images."""
    net = usual_conv4(bank.items.shape[1]).to(bank.device)
    size = len(bank) // bank.num_classes
    way, shot, query = protocol.way, protocol.shot, protocol.query

    def tasks() -> tuple[Tensor, Tensor]:
        picked = torch.stack(
            [c * size + torch.randperm(size)[: shot + query] for c in torch.randperm(bank.num_classes)[:way].tolist()]
        )
        images = bank.items[picked.to(bank.device)].float() / 255
        return images[:, :shot].flatten(0, 1), images[:, shot:].flatten(0, 1)

    def score(support: Tensor, query: Tensor) -> Tensor:
        features = net(torch.cat([support, query]))
        prototypes = features[: len(support)].unflatten(0, (way, shot)).mean(1)
        return -(torch.cdist(features[len(support) :], prototypes) ** 2)

    return of_loop(net, protocol, steps, tasks, score)


def of_learn2learn(bank: Bank, protocol: Protocol, steps: int, device: torch.device) -> Callable[[], int]:
    """Its task set, the prototypes of its own example."""
    from learn2learn.nn import PrototypicalClassifier

    way, shot, query = protocol.way, protocol.shot, protocol.query
    sets = learn2learn_tasks(InMemory(bank), protocol)
    net = usual_conv4(bank.items.shape[1]).to(device)
    prototypes = PrototypicalClassifier()

    def tasks() -> tuple[Tensor, Tensor]:
        images, _ = sets.sample()
        images = images.unflatten(0, (way, shot + query)).to(device)
        return images[:, :shot].flatten(0, 1), images[:, shot:].flatten(0, 1)

    def score(support: Tensor, query: Tensor) -> Tensor:
        features = net(torch.cat([support, query]))
        labels = torch.arange(way, device=device).repeat_interleave(shot)
        prototypes.fit_(features[: len(support)], labels)
        return prototypes(features[len(support) :])

    return of_loop(net, protocol, steps, tasks, score)


def of_easyfsl(bank: Bank, protocol: Protocol, steps: int, device: torch.device) -> Callable[[], int]:
    """Its sampler, collation and Prototypical Networks."""
    from easyfsl.methods import PrototypicalNetworks

    data = InMemory(bank)
    sampler = easyfsl_sampler(data, protocol)
    loader = iter(DataLoader(data, batch_sampler=sampler, collate_fn=sampler.episodic_collate_fn))
    model = PrototypicalNetworks(usual_conv4(bank.items.shape[1])).to(device)
    labels = None

    def tasks() -> tuple[Tensor, Tensor]:
        nonlocal labels
        support, labels, images, _, _ = next(loader)
        return support.to(device), images.to(device)

    def score(support: Tensor, query: Tensor) -> Tensor:
        model.process_support_set(support, labels.to(device))
        return model(query)

    return of_loop(model, protocol, steps, tasks, score)


def serve_side(way: dict, arguments: argparse.Namespace) -> None:
    """Take turns as one side."""
    random.seed(0)
    torch.manual_seed(0)
    torch.set_num_threads(arguments.threads)
    bank, protocol = bank_of(arguments), Protocol(arguments.way, arguments.shot, arguments.query)
    device = here()
    # 32 bits are 32 bits on all sides, as fewshot has it.
    torch.backends.cudnn.allow_tf32 = False
    # The peers' users have their images in the CPU's memory, and send each task once.
    if way["side"] in ("learn2learn", "easyfsl"):
        make = {"learn2learn": of_learn2learn, "easyfsl": of_easyfsl}[way["side"]]
        serve(make(bank, protocol, arguments.steps, device))
        return
    given = (bank.to(device), protocol, arguments.steps)
    if way["side"] == "fewshot":
        serve_fewshot(*given, way.get("precision", "32"))
    elif way["side"] == "bare":
        serve(of_bare_backbone(*given, way.get("precision", "32")))
    else:
        serve(of_plain(*given))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="mini_imagenet")
    parser.add_argument("--way", type=count, default=5)
    parser.add_argument("--shot", type=count, default=5)
    parser.add_argument("--query", type=count, default=15, help="of each class")
    parser.add_argument("--steps", type=count, default=3, help="of a turn")
    parser.add_argument("--rounds", type=count, default=5)
    parser.add_argument("--threads", type=count, default=torch.get_num_threads())
    add_folders(parser)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve_side(json.loads(arguments.serve), arguments)
        return
    torch.set_num_threads(arguments.threads)
    print(
        f"Prototypical Networks, Conv-4, {bank_of(arguments).name}, {arguments.way}-way {arguments.shot}-shot {arguments.query}-query, "
        f"{device_name(here())}, torch {torch.__version__}, "
        f"{arguments.threads} threads, {arguments.rounds} interleaved rounds\n"
    )
    beside = {name: "fewshot" for name in WAYS if "bf16" not in name and name != "fewshot"}
    beside["plain PyTorch"] = ("fewshot", "fewshot, bf16")
    beside["fewshot, bf16"] = "fewshot"
    beside["bare backbone, bf16"] = "fewshot, bf16"
    report(compete(WAYS, sys.argv[1:], arguments.rounds), "steps", beside)


if __name__ == "__main__":
    run(main)
