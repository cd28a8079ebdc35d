"""Whether a data set is what it should be: its public files, its banks, and its splits against each other."""

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from fewshot.data.dataset import Audit, DataSet
from fewshot.data.store import open_bank
from fewshot.data.streaming import Report, item_digests
from fewshot.errors import FewshotError


class Finding(NamedTuple):
    """What a check of one split found.

    Args:
        split: which.
        counts: images of each class of the bank; empty without a bank.
        fingerprint: of the bank.
        problem: what is wrong with the bank; empty when all is well.
        audit: of the public files; None if they are not here or nothing is known about them.
    """

    split: str
    counts: list[int]
    fingerprint: str
    problem: str
    audit: Audit | None


class Duplicate(NamedTuple):
    """One picture that is in two splits: in each the split, the class and the number of the item in the bank."""

    first: tuple[str, str, int]
    second: tuple[str, str, int]
    known: bool

    def __str__(self) -> str:
        (split, name, item), (other, other_name, other_item) = self.first, self.second
        known = " (known)" if self.known else ""
        return f"{split}/{name}, item {item} = {other}/{other_name}, item {other_item}{known}"


def verify_dataset(
    dataset: DataSet, files: bool = True, report: Callable[[str], Report] | None = None
) -> tuple[list[Finding], list[Duplicate]]:
    """Check every split.

    Args:
        dataset: its banks need not be prepared; then that is what is found.
        files: look at the public files too, and decode each of them.
        report: makes, of the name of a split, what hears of the progress with its files.

    Returns:
        A finding for each split, and the pictures that two splits share.
    """
    findings, owners, seen, duplicates = [], {}, {}, []
    allowed = Counter({frozenset(pair): images for *pair, images in dataset.known_duplicates()})
    for split in dataset.splits:
        audit = _audit(dataset, split, report(split) if report else None) if files else None
        try:
            if not dataset.is_prepared(split):
                raise FewshotError(f"not prepared; run: fewshot-data prepare {dataset.name}")
            bank = open_bank(dataset.folder(split), check="always")
        except FewshotError as error:
            findings.append(Finding(split, [], "", str(error), audit))
            continue
        problem = ""
        if bank.replacing(_known_fingerprint=None).fingerprint != bank.fingerprint:
            problem = "the content does not have the fingerprint it was written with"
        # trainval is the union of two others by design.
        if split != "trainval":
            shared = [name for name in bank.class_names if owners.setdefault(name, split) != split]
            if shared:
                problem = f"{len(shared)} classes are in {owners[shared[0]]} too, such as {shared[0]!r}"
            for item, digest in enumerate(item_digests(dataset.folder(split) / "items.npy")):
                mine = (split, bank.class_names[int(bank.labels[item])], item)
                first = seen.setdefault(digest, mine)
                if first[0] != split:
                    pair = frozenset((_folder_of(first), _folder_of(mine)))
                    duplicates.append(Duplicate(first, mine, known=allowed[pair] > 0))
                    allowed[pair] -= 1
        findings.append(Finding(split, bank.counts.tolist(), bank.fingerprint, problem, audit))
    return findings, duplicates


def _folder_of(place: tuple[str, str, int]) -> str:
    return place[1].partition(" ")[0]


def _audit(dataset: DataSet, split: str, report: Report | None) -> Audit | None:
    try:
        return dataset.audit(split, report)
    except (FewshotError, OSError) as error:
        return Audit(unreadable=[str(error)])
