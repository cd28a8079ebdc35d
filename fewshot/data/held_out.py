"""Images of each class that are kept out of training."""

import numpy as np
import torch

from fewshot.data.bank import Bank
from fewshot.errors import FewshotError


def hold_out(bank: Bank, share: float) -> tuple[Bank, Bank]:
    """The bank without a share of each class's items, and a bank of those.

    Which items is drawn once for all: it depends on the number of the class and on how many items it has, not on the seed of a
    run. At least one item of each class goes to either side.

    Args:
        bank: of at least two items in each class.
        share: more than 0 and less than 1, rounded to whole items in each class.

    Raises:
        FewshotError: a share out of range, or a class of one item.
    """
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share < 1:
        raise FewshotError(f"held_out={share!r}; expected a share of each class's images, more than 0 and less than 1")
    alone = int(bank.counts.argmin())
    if bank.counts[alone] < 2:
        name = bank.class_names[alone]
        raise FewshotError(f"held_out={share}: class {name!r} of {bank.name}/{bank.split} has a single image")
    chosen = np.zeros(len(bank), dtype=bool)
    for number, (count, first) in enumerate(zip(bank.counts.tolist(), bank.offsets.tolist(), strict=True)):
        words = np.random.Philox(key=number).random_raw(count)
        taken = min(max(round(share * count), 1), count - 1)
        chosen[first + np.argsort(words, kind="stable")[:taken]] = True
    return _part(bank, ~chosen, bank.split), _part(bank, chosen, f"{bank.split} held out")


def halves(bank: Bank) -> tuple[Bank, Bank]:
    """Every second item of each class, and the others: two banks of the same classes.

    Raises:
        FewshotError: a class of one item.
    """
    place = torch.arange(len(bank)) - bank.offsets[bank.labels.cpu()]
    if int(bank.counts.min()) < 2:
        name = bank.class_names[int(bank.counts.argmin())]
        raise FewshotError(
            f"class {name!r} of {bank.name}/{bank.split} has one image, which cannot be halved; hold out more"
        )
    odd = (place % 2 == 1).numpy()
    return _part(bank, ~odd, bank.split), _part(bank, odd, bank.split)


def _part(bank: Bank, chosen: np.ndarray, split: str) -> Bank:
    index = torch.from_numpy(np.flatnonzero(chosen)).to(bank.device)
    return bank.replacing(items=bank.items[index], labels=bank.labels[index], split=split, _known_fingerprint=None)
