"""Whether a prepared data set is what it should be."""

from typing import NamedTuple

from fewshot.data.dataset import DataSet
from fewshot.data.store import open_bank
from fewshot.errors import FewshotError


class Finding(NamedTuple):
    """What a check of one split found; `problem` is empty when all is well."""

    split: str
    classes: int
    images: int
    fingerprint: str
    problem: str


def verify_dataset(dataset: DataSet) -> list[Finding]:
    """Check every split: files against checksums, content against the fingerprint, splits against each other."""
    findings, owners = [], {}
    for split in dataset.splits:
        try:
            if not dataset.is_prepared(split):
                raise FewshotError(f"not prepared; run: fewshot-data prepare {dataset.name}")
            bank = open_bank(dataset.folder(split), check=True)
        except FewshotError as error:
            findings.append(Finding(split, 0, 0, "", str(error)))
            continue
        problem = ""
        if bank.replacing(_known_fingerprint=None).fingerprint != bank.fingerprint:
            problem = "the content does not have the fingerprint it was written with"
        # trainval is the union of two others by design.
        shared = [name for name in bank.class_names if owners.setdefault(name, split) != split]
        if shared and split != "trainval":
            problem = f"{len(shared)} classes are in {owners[shared[0]]} too, such as {shared[0]!r}"
        findings.append(Finding(split, bank.num_classes, len(bank), bank.fingerprint, problem))
    return findings
