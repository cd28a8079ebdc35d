"""What a run is tested on: each head on each data set, balanced and uneven."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from omegaconf import DictConfig
from torch import nn

from fewshot.cli import recipe, recipe_checks, recipe_text
from fewshot.cli.typed import plain
from fewshot.data.bank import Bank
from fewshot.episodes.protocol import Protocol
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.errors import FewshotError
from fewshot.learners.feature_learner import FeatureLearner
from fewshot.learners.learner import Learner, check_tasks

OWN = "own"


@dataclass(frozen=True)
class PlannedTest:
    """One meta-test to be.

    Args:
        label: at the end of the names of its files.
        bank: on which images.
        protocol: which episodes.
        head: that scores; None for the learner's own.
        head_text: as the row has it.
    """

    label: str
    bank: Bank
    protocol: Protocol
    head: nn.Module | None
    head_text: str


def planned_tests(
    config: DictConfig, learner: Learner, banks: Mapping[str, Bank], protocol: Protocol, classes: int | None
) -> list[PlannedTest]:
    """All combinations of `heads`, data sets and protocols.

    A protocol of balanced queries is followed by one of uneven queries, as `unbalanced` says, for all heads if any of them is
    transductive: how much such a head owes to balance is part of what it does.

    Args:
        config: the whole configuration; `heads` names other heads than the learner's own.
        learner: whose backbone all of them score.
        banks: by the label of their files.
        protocol: of the test.
        classes: that the learner was trained on.

    Raises:
        FewshotError: a head that cannot be made, or a protocol that does not fit a bank.
    """
    heads = _heads(config, learner, classes, next(iter(banks.values())))
    protocols = {"": protocol}
    if config.unbalanced is not None and protocol.dirichlet is None and any(uses for *_, uses in heads.values()):
        uneven = replace(protocol, dirichlet=config.unbalanced)
        protocols[f"-dirichlet{config.unbalanced:g}"] = uneven
    planned = []
    for data_label, bank in banks.items():
        for protocol_label, asked in protocols.items():
            EpisodeSampler(bank, asked)
            for head, *_ in heads.values():
                check_tasks(head or learner, bank, asked)
            planned += [
                PlannedTest(f"{data_label}{head_label}{protocol_label}", bank, asked, head, text)
                for head_label, (head, text, _) in heads.items()
            ]
    return planned


def _heads(
    config: DictConfig, learner: Learner, classes: int | None, bank: Bank
) -> dict[str, tuple[nn.Module | None, str, bool]]:
    """Head, text and whether it is transductive, by the label of its files."""
    own = (None, recipe_text.describe_head(config.head), learner.transductive)
    entries = plain(config.heads, "heads")
    if entries is None:
        return {"": own}
    if not isinstance(entries, list) or not entries:
        raise FewshotError(f"heads={entries!r}; expected a list such as [prototype,{{head: tim, temperature: 10}}]")
    if not isinstance(learner, FeatureLearner):
        raise FewshotError(f"heads: {type(learner).__name__} scores no frozen features; leave heads out")
    found: dict[str, tuple[nn.Module | None, str, bool]] = {}
    for entry in entries:
        options = dict(entry) if isinstance(entry, dict) else {"head": entry}
        name = str(options.pop("head", None))
        if name == OWN and not options:
            head = own
        else:
            node = recipe.chosen("head", name, options, "heads")
            made = recipe.make_head(node, recipe.told(learner.backbone, classes, bank))
            recipe_checks.check_trained(made, recipe_text.describe_head(node))
            head = (made, recipe_text.describe_head(node), bool(getattr(made, "transductive", False)))
        count = sum(label.partition("~")[0] == f"-{name}" for label in found)
        found[f"-{name}~{count + 1}" if count else f"-{name}"] = head
    return found
