"""What random parts cost when they are cut from small copies of images: SimpleShot's augmentation at half the size.

    python scripts/reproduce/parts_of_copies.py originals|copies|shifts [--epochs 10] [--threads 1]

The 84x84 images of mini-ImageNet play the originals, and their 42x42 copies the copies. A Conv-4 classifier of the base classes is trained on
random parts of 42x42 pixels, cut from the originals or from the copies (or on copies shifted by up to 4 pixels), and mirror images. Tests are the
same for all: the copies as they are, and enlarged by 8/7 and cut; nearest centroids CL2N, 10,000 episodes.
"""

import argparse
import math

import torch
from torch import nn
from torch.nn.functional import cross_entropy, pad
from torchvision.transforms.v2 import RandomCrop, RandomResizedCrop
from torchvision.transforms.v2.functional import center_crop, resize

from fewshot import Bank, Conv4, Protocol, evaluate, open_dataset
from fewshot.cli.one_line_errors import one_line_errors
from fewshot.device import keep_freed_memory
from fewshot.heads.nearest_centroid import NearestCentroidHead

SIZE, SHIFT = 42, 4


def ready(images: torch.Tensor, bank: Bank) -> torch.Tensor:
    """8-bit images as the network takes them."""
    mean, std = (torch.tensor(numbers)[:, None, None] for numbers in (bank.mean, bank.std))
    return ((images / 255 - mean) / std).contiguous(memory_format=torch.channels_last)


def changed(images: torch.Tensor, kind: str) -> torch.Tensor:
    """A random part, or shift, of each image, every second one mirrored."""
    if kind == "shifts":
        change = RandomCrop(SIZE)
        images = pad(images, (SHIFT,) * 4)
    else:
        change = RandomResizedCrop(SIZE, antialias=True)
    images = torch.stack([change(image) for image in images])
    mirrored = torch.rand(len(images)) < 0.5
    images[mirrored] = images[mirrored].flip(-1)
    return images


@torch.no_grad()
def features(network: nn.Module, images: torch.Tensor, bank: Bank) -> Bank:
    """Frozen features of all images, with the classes of their bank."""
    network.eval()
    return Bank.of(torch.cat([network(ready(part, bank)) for part in images.split(128)]), bank.labels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=("originals", "copies", "shifts"))
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    if min(arguments.epochs, arguments.threads) < 1:
        parser.error("--epochs and --threads: expected at least 1")
    torch.set_num_threads(arguments.threads)
    keep_freed_memory()
    torch.manual_seed(0)
    data = open_dataset("mini_imagenet")
    base, novel = data.bank("train"), data.bank("test")
    copies = {bank.split: resize(bank.items, [SIZE, SIZE], antialias=True) for bank in (base, novel)}
    source = base.items if arguments.kind == "originals" else copies["train"]
    backbone = Conv4(channels=3, image_size=SIZE)
    network = nn.Sequential(backbone, nn.Linear(backbone.feature_size, base.num_classes))
    network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-4)
    batches = len(base) // 128
    for epoch in range(arguments.epochs):
        network.train()
        right = 0
        for i, chosen in enumerate(torch.randperm(len(base))[: batches * 128].split(128)):
            for group in optimizer.param_groups:
                group["lr"] = 0.025 * (1 + math.cos(math.pi * (epoch * batches + i) / (arguments.epochs * batches)))
            scores = network(ready(changed(source[chosen], arguments.kind), base))
            optimizer.zero_grad()
            cross_entropy(scores, base.labels[chosen]).backward()
            optimizer.step()
            right += int((scores.argmax(1) == base.labels[chosen]).sum())
        print(f"epoch {epoch + 1}/{arguments.epochs}  accuracy {100 * right / (batches * 128):.2f}%", flush=True)
    for name, side in (("whole", SIZE), ("enlarged", SIZE * 8 // 7)):
        shown = {split: center_crop(resize(x, [side, side], antialias=True), SIZE) for split, x in copies.items()}
        base_features = features(backbone, shown["train"], base)
        novel_features = features(backbone, shown["test"], novel)
        for shot in (1, 5):
            protocol = Protocol(way=5, shot=shot, query=15, episodes=10000)
            head = NearestCentroidHead(feature_size=backbone.feature_size)
            print(
                f"{arguments.kind}, {name} images: {evaluate(head, novel_features, protocol, base=base_features)}",
                flush=True,
            )


if __name__ == "__main__":
    with one_line_errors("parts_of_copies.py"):
        main()
