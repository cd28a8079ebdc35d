"""What is known of classes beside their images: given to the banks of a run, and told by its rows."""

from collections.abc import Mapping

from omegaconf import DictConfig, OmegaConf

from fewshot.data.bank import Bank
from fewshot.errors import FewshotError
from fewshot.instantiation import make


def make_semantics(config: DictConfig) -> object | None:
    """What `semantics` of a configuration describes classes with; None leaves them as the data sets have them."""
    if not config.get("semantics"):
        return None
    node, parts = config.semantics, {}
    if "encoder" in node:
        parts["encoder"] = make(node.encoder, "semantics.encoder")
        node = node.copy()
        OmegaConf.set_struct(node, False)
        del node["encoder"]
    return make(node, "semantics", **parts)


def described(semantics: object | None, *groups: Mapping[str, Bank]) -> list[dict[str, Bank]]:
    """The same banks with attributes of their classes.

    Raises:
        FewshotError: classes cannot be described, or those of two banks are described by as many numbers not.
    """
    return [{name: described_bank(semantics, bank) for name, bank in banks.items()} for banks in groups]


def described_bank(semantics: object | None, bank: Bank) -> Bank:
    """`described` for one bank."""
    return bank if semantics is None else semantics.described(bank)


def check_alike(*groups: Mapping[str, Bank]) -> None:
    """Raise a FewshotError unless a learner that reads attributes finds as many numbers for each class of all banks."""
    banks = [bank for part in groups for bank in part.values()]
    sizes = [0 if bank.class_attributes is None else bank.class_attributes.shape[1] for bank in banks]
    for bank, size in zip(banks, sizes, strict=True):
        if size == 0:
            raise FewshotError(
                f"this learner compares images with what is known of classes, and nothing is of {bank.name}/{bank.split}; use "
                f"semantics=text_minilm, text_ngrams or attributes"
            )
        if size != sizes[0]:
            raise FewshotError(
                f"{banks[0].name}/{banks[0].split} has {sizes[0]} attributes for each class and {bank.name}/{bank.split} "
                f"{size}; use class names (semantics=text_minilm), which have as many for all"
            )


def joined(own: str, before: str, where: str) -> str:
    """What a row says: what was shown, and what was shown before if that is something else."""
    if before in ("none", own):
        return own
    return f"{before} in {where}" if own == "none" else f"{own}; {before} in {where}"
