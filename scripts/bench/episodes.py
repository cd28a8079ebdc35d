"""Episodes per second: a bank in memory beside a DataLoader over the image files.

    python scripts/bench/episodes.py [--root data/raw] [--rounds 5] [--episodes 40]

Both deliver the same thing: 5-way 1-shot 15-query Omniglot episodes, 80 images of 28x28 as
normalised floats. The other side is what most code does: a batch sampler of indices, a data set that opens,
rotates, resizes and converts one file at a time.
"""

import argparse
import random
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, Sampler

from fewshot import EpisodeSampler, Protocol, open_dataset

sys.path.insert(0, str(Path(__file__).parent))
from rounds import interleaved, report


class Files(Dataset):
    """One file at a time, as a torchvision data set does it."""

    def __init__(self, base: Path, characters: list[str]):
        parts = ("images_background", "images_evaluation")
        self.items = [
            (path, rotation)
            for name in characters
            for rotation in (0, 90, 180, 270)
            for part in parts
            for path in sorted((base / part / name).glob("*.png"))
        ]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> torch.Tensor:
        path, rotation = self.items[index]
        with Image.open(path) as image:
            small = image.rotate(rotation).resize((28, 28))
        return 1 - torch.from_numpy(np.asarray(small, dtype=np.float32))[None]


class Tasks(Sampler):
    """Index lists of random episodes."""

    def __init__(self, classes: int, episodes: int):
        self.classes, self.episodes = classes, episodes

    def __len__(self) -> int:
        return self.episodes

    def __iter__(self):
        for _ in range(self.episodes):
            yield [20 * c + i for c in random.sample(range(self.classes), 5) for i in random.sample(range(20), 16)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", default="data/raw")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--episodes", type=int, default=40, help="per round for files; banks do 50 times as many")
    arguments = parser.parse_args()
    dataset = open_dataset("omniglot", root=arguments.root)
    bank = dataset.bank("train")
    sampler = EpisodeSampler(bank, Protocol(5, 1, 15))
    files = Files(Path(arguments.root) / "omniglot-py", dataset.characters("train"))
    assert len(files) == len(bank)

    def ours(batch: int):
        def work() -> int:
            count = 50 * arguments.episodes
            for start in range(0, count, batch):
                sampler.episodes(start, batch)
            return count

        return work

    def theirs(workers: int):
        def work() -> int:
            loader = DataLoader(files, batch_sampler=Tasks(bank.num_classes, arguments.episodes), num_workers=workers)
            return sum(1 for _ in loader)

        return work

    seconds = interleaved(
        {
            "bank, 8 tasks at a time": ours(8),
            "bank, 1 task at a time": ours(1),
            "files, DataLoader, no worker": theirs(0),
            "files, DataLoader, 2 workers": theirs(2),
        },
        arguments.rounds,
    )
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {arguments.rounds} interleaved rounds")
    report(seconds, "episodes")


if __name__ == "__main__":
    main()
