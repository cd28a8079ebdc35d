"""Tasks that share no image: what a bank holds, played once."""

import numpy as np

from fewshot.data.bank import Bank
from fewshot.episodes.protocol import Protocol
from fewshot.episodes.sampler import EpisodeIndices
from fewshot.errors import FewshotError


def disjoint_indices(bank: Bank, protocol: Protocol) -> EpisodeIndices:
    """Tasks of `protocol` drawn from `bank` without replacement, until its images do not suffice for another.

    Each task takes the classes that have most images left, chance deciding between equal ones, so that classes of one size
    are used equally often and any set of them is as likely as any other. `protocol.episodes` bounds nothing here.

    Args:
        bank: where items come from.
        protocol: what a task is; its seed chooses the tasks.

    Raises:
        FewshotError: queries are uneven, or images do not suffice for one task.

    Source: Lafargue et al., Oops, I Sampled it Again: Reinterpreting Confidence Intervals in Few-Shot Learning, 2024; the
    order of classes is ours.
    """
    if protocol.dirichlet is not None:
        raise FewshotError(f"{protocol}: tasks without common images are drawn with even queries; set dirichlet=null")
    rng = np.random.Generator(np.random.Philox(key=protocol.seed))
    counts, offsets = bank.counts.numpy(), bank.offsets.numpy()
    shuffled = [offset + rng.permutation(count) for offset, count in zip(offsets, counts, strict=True)]
    left, n = counts.copy(), protocol.way
    sizes = np.array(protocol.shots) + protocol.query
    tasks = []
    while True:
        order = np.lexsort((rng.random(len(left)), -left))[:n]
        chosen = rng.permutation(order)
        if len(order) < n or (left[chosen] < sizes).any():
            break
        support, query = [], []
        for label, number in enumerate(chosen):
            items = shuffled[number][left[number] - sizes[label] : left[number]]
            support.append(items[: protocol.shots[label]])
            query.append(items[protocol.shots[label] :])
            left[number] -= sizes[label]
        mixed = rng.permutation(protocol.query_size)
        labels = np.repeat(np.arange(n), protocol.query)
        tasks.append((chosen, np.concatenate(support), np.concatenate(query)[mixed], labels[mixed]))
    if not tasks:
        raise FewshotError(
            f"{protocol} needs {sizes.max()} items of {n} classes, which {bank.name}/{bank.split} does not have"
        )
    return EpisodeIndices(*(np.stack(part).astype(np.int64) for part in zip(*tasks, strict=True)))
