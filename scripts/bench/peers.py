"""What the peers draw tasks with, on images or features of ours."""

import torch
from torch import Tensor
from torch.utils.data import Dataset

from fewshot import Bank, Protocol


class InMemory(Dataset):
    """Decoded images and labels, one at a time, as the peers ask for them.

    Args:
        bank: of 8-bit images, which become floats in 0..1 when they are asked for.
        as_floats: make floats of all of them beforehand, as learn2learn's own mini-ImageNet does, in four times the memory.
    """

    def __init__(self, bank: Bank, as_floats: bool = False):
        self.items, self.labels = bank.items, bank.labels.tolist()
        if as_floats:
            self.items = torch.cat([part.float().div_(255) for part in self.items.split(1000)])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        item = self.items[index]
        return item if item.dtype == torch.float32 else item.float() / 255, self.labels[index]

    def get_labels(self) -> list[int]:
        return self.labels


def easyfsl_sampler(data: Dataset, protocol: Protocol, tasks: int = 10**9):
    """easyfsl's `TaskSampler`, whose own start asks `Sampler` for an argument that torch no longer has."""
    from easyfsl.samplers import TaskSampler

    class Mended(TaskSampler):
        def __init__(self):
            self.n_way, self.n_shot, self.n_query, self.n_tasks = protocol.way, protocol.shot, protocol.query, tasks
            self.items_per_label = {}
            for item, label in enumerate(data.get_labels()):
                self.items_per_label.setdefault(label, []).append(item)

    return Mended()


def learn2learn_tasks(data: Dataset, protocol: Protocol):
    """learn2learn's task set with its fastest choice of classes and shots."""
    from learn2learn.data import MetaDataset, TaskDataset
    from learn2learn.data.transforms import ConsecutiveLabels, FusedNWaysKShots, LoadData, RemapLabels

    labels = {}
    for item, label in enumerate(data.get_labels()):
        labels.setdefault(label, []).append(item)
    names = {item: label for label, items in labels.items() for item in items}
    meta = MetaDataset(data, labels_to_indices=labels, indices_to_labels=names)
    shots = protocol.shot + protocol.query
    changes = [
        FusedNWaysKShots(meta, n=protocol.way, k=shots),
        LoadData(meta),
        RemapLabels(meta),
        ConsecutiveLabels(meta),
    ]
    return TaskDataset(meta, task_transforms=changes, num_tasks=-1)
