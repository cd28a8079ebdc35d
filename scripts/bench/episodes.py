"""Image episodes per second, drawn, gathered and normalised, with and without augmentation, beside easyfsl and learn2learn.

    python scripts/bench/episodes.py [--shot 5] [--rounds 5] [--threads 2]

5-way 5-shot 15-query episodes of mini-ImageNet's training classes, 100 images of 84x84 each, one episode at a time. easyfsl opens JPEG files, as its users do: 100 images
of each class, written at 84x84 pixels before the clock starts, with its own preprocessing for tests (enlarged to 96, of which 84 are cut out) and for
training (a random part, colours, mirror image). learn2learn has decoded images in memory: 8-bit ones, as fewshot has them, of which each becomes floats when it is
asked for, and floats, as its own mini-ImageNet keeps them in four times the memory; neither is normalised. Each side in a process of its own, in turns.
"""

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from easyfsl.datasets import EasySet
from torch.utils.data import DataLoader
from torchvision.io import write_jpeg

from fewshot import Bank, EpisodeSampler, Protocol, open_dataset
from fewshot.choices import configured
from fewshot.device import keep_freed_memory
from fewshot.instantiation import make

sys.path.insert(0, str(Path(__file__).parent))
from command import add_folders, count, run
from peers import InMemory, easyfsl_sampler, learn2learn_tasks
from processes import compete, serve
from rounds import report

WAYS = {
    "fewshot": {"side": "fewshot"},
    "fewshot, channels-last as training has it": {"side": "fewshot", "channels_last": True},
    "easyfsl 1.5.0, JPEGs, 2 workers": {"side": "easyfsl", "workers": 2},
    "easyfsl 1.5.0, JPEGs, no worker": {"side": "easyfsl", "workers": 0},
    "learn2learn 0.2.0, in memory": {"side": "learn2learn"},
    "learn2learn 0.2.0, floats in memory": {"side": "learn2learn", "as_floats": True},
    "fewshot, random part, mirror, colours": {"side": "fewshot", "augment": "resized_crop_jitter"},
    "fewshot, shift, mirror, colours": {"side": "fewshot", "augment": "crop_flip_jitter"},
    "easyfsl, random part, mirror, colours, 2 workers": {"side": "easyfsl", "workers": 2, "training": True},
}
AUGMENTED = [name for name in WAYS if "augment" in WAYS[name]]
BESIDE = dict.fromkeys(list(WAYS)[1:6], "fewshot") | {list(WAYS)[-1]: AUGMENTED}


def write_files(bank: Bank, folder: Path, items: int) -> Path:
    """JPEG files of some items of each class, and the file that tells easyfsl where they are."""
    roots = []
    for label, name in enumerate(bank.class_names):
        roots.append(str(folder / name))
        Path(roots[-1]).mkdir()
        for i in range(items):
            write_jpeg(bank.items[int(bank.offsets[label]) + i].clone(), str(folder / name / f"{i}.jpg"), quality=95)
    specs = folder / "specs.json"
    specs.write_text(json.dumps({"class_names": list(bank.class_names), "class_roots": roots}))
    return specs


def turns_of(way: dict, arguments: argparse.Namespace) -> Callable[[], int]:
    """The turns of one side, about a second each."""
    random.seed(0)
    torch.set_num_threads(arguments.threads)
    protocol = Protocol(5, arguments.shot, 15)
    if way["side"] == "easyfsl":
        data = EasySet(arguments.specs, image_size=84, training=way.get("training", False))

        def loaded() -> int:
            sampler = easyfsl_sampler(data, protocol, arguments.episodes)
            loader = DataLoader(
                data, batch_sampler=sampler, num_workers=way["workers"], collate_fn=sampler.episodic_collate_fn
            )
            return sum(1 for _ in loader)

        return loaded
    bank = open_dataset("mini_imagenet", root=arguments.root, prepared=arguments.prepared).bank("train")
    if way["side"] == "learn2learn":
        tasks = learn2learn_tasks(InMemory(bank, way.get("as_floats", False)), protocol)

        def sampled() -> int:
            for _ in range(5 * arguments.episodes):
                tasks.sample()
            return 5 * arguments.episodes

        return sampled
    keep_freed_memory()
    augment = make(configured("augment", way["augment"]), "augment") if "augment" in way else None
    sampler, done = EpisodeSampler(bank, protocol, augment, channels_last=way.get("channels_last", False)), 0

    def drawn() -> int:
        nonlocal done
        count = arguments.episodes * (5 if augment else 20)
        for _ in range(count):
            sampler.episodes(done, 1)
            done += 1
        return count

    return drawn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shot", type=count, default=5)
    parser.add_argument(
        "--episodes", type=count, default=40, help="of a turn of easyfsl; the others have 5 or 20 times as many"
    )
    parser.add_argument("--rounds", type=count, default=5)
    parser.add_argument("--threads", type=count, default=torch.get_num_threads())
    add_folders(parser)
    parser.add_argument("--specs", help=argparse.SUPPRESS)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(turns_of(json.loads(arguments.serve), arguments))
        return
    bank = open_dataset("mini_imagenet", root=arguments.root, prepared=arguments.prepared).bank("train")
    print(
        f"mini-ImageNet, 5-way {arguments.shot}-shot 15-query, torch {torch.__version__}, {arguments.threads} threads, "
        f"{arguments.rounds} interleaved rounds\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        specs = write_files(bank, Path(folder), 100)
        report(compete(WAYS, [*sys.argv[1:], "--specs", str(specs)], arguments.rounds), "episodes", BESIDE)


if __name__ == "__main__":
    run(main)
