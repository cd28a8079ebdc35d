"""Images per second of training and embedding Conv-4 on the CPU, with and without what fewshot sets up.

    python scripts/bench/cpu_training.py [--size 84] [--rounds 5]

Each way runs in a process of its own, because the allocator's settings belong to a process; the
processes take turns.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from fewshot.backbones.conv4 import Conv4
from fewshot.backbones.folding import fold_batchnorm
from fewshot.device import keep_freed_memory

sys.path.insert(0, str(Path(__file__).parent))
from command import count, run
from processes import compete, serve
from rounds import report

TRAINING = {
    "kept memory, channels-last (the default)": {"keep": True, "last": True},
    "kept memory": {"keep": True},
    "plain": {},
    "kept memory, channels-last, bf16": {"keep": True, "last": True, "half": True},
}
EMBEDDING = {
    "folded, channels-last, small batches (the default)": {"keep": True, "fold": True, "last": True, "batch": 16},
    "plain, batches of 100": {"batch": 100},
    "kept memory, batches of 100": {"keep": True, "batch": 100},
}


def work_of(way: dict, size: int) -> Callable[[], int]:
    """A turn of one way, which returns how many images it took."""
    torch.manual_seed(0)
    if way.get("keep"):
        keep_freed_memory()
    layout = torch.channels_last if way.get("last") else torch.contiguous_format
    channels = 1 if size == 28 else 3
    net = Conv4(channels, image_size=size).to(memory_format=layout)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    batch = way["batch"] * (84 * 84 // size**2 if way.get("fold") else 1) if "batch" in way else 80
    images = torch.rand(batch, channels, size, size).contiguous(memory_format=layout)
    frozen = fold_batchnorm(net).to(memory_format=layout) if way.get("fold") else net

    def embed() -> int:
        count = 0
        with torch.inference_mode():
            while count < 200:
                frozen(images)
                count += batch
        return count

    def train() -> int:
        for _ in range(3):
            with torch.autocast("cpu", torch.bfloat16, enabled=bool(way.get("half"))):
                loss = net(images).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return 3 * batch

    if "batch" in way:
        net.eval()
    return embed if "batch" in way else train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=count, default=84)
    parser.add_argument("--rounds", type=count, default=5)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(work_of(json.loads(arguments.serve), arguments.size))
        return
    print(
        f"Conv-4, {arguments.size}x{arguments.size}, torch {torch.__version__}, {torch.get_num_threads()} threads\n\ntraining"
    )
    size = ["--size", str(arguments.size)]
    report(compete(TRAINING, size, arguments.rounds), "images")
    print("\nembedding")
    report(compete(EMBEDDING, size, arguments.rounds), "images")


if __name__ == "__main__":
    run(main)
