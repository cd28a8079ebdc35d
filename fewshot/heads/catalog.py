"""Heads by name, as `conf/head/` lists them."""

from typing import Any

from omegaconf import DictConfig, OmegaConf
from torch import nn

from fewshot.choices import chosen
from fewshot.data.bank import Bank
from fewshot.errors import FewshotError, check_kind
from fewshot.heads.feature_transform import FeatureTransform, Prepared
from fewshot.heads.nearest_centroid import NearestCentroidHead
from fewshot.instantiation import accepted, make_module


def open_head(name: str, /, backbone: nn.Module | None = None, bank: Bank | None = None, **options: Any) -> nn.Module:
    """The head that `head=name` is on the command line, with what is done to features first.

    Args:
        name: of a file of `conf/head/`.
        backbone: whose features it scores; without one those of `bank`.
        bank: whose classes it is made for; heads of attributes need it.
        options: keys of that file with other values.

    Raises:
        FewshotError: no such head or option, a value that it refuses, or, without a backbone to train with, a head with random weights.
    """
    if backbone is not None:
        check_kind("backbone", backbone, nn.Module, "learner.backbone; a bank of features is given as bank=")
    if bank is not None:
        check_kind("bank", bank, Bank, "Bank.of(features, labels)")
    head = make_head(chosen("head", name, options, "head"), told(backbone, None, bank))
    if backbone is None and has_untrained_weights(head):
        raise FewshotError(
            f"head {name} has weights of its own, which are random before training; give backbone=, and train it with that"
        )
    return head


def has_untrained_weights(head: nn.Module) -> bool:
    """Whether a head begins with random weights: numbers and vectors, such as temperatures, begin at values that are of use."""
    return any(p.dim() > 1 for p in head.parameters())


def make_head(node: DictConfig, known: dict) -> nn.Module:
    """The head of a node; its key `features` names what is done to features first."""
    features = node.get("features")
    node = OmegaConf.masked_copy(node, [key for key in node if key != "features"])
    head = make_module(node, "head", **accepted(node, known))
    if features is None:
        return head
    if isinstance(head, NearestCentroidHead):
        raise FewshotError(f"head.features={features}: this head has head.transform for that; leave features out")
    return Prepared(head, FeatureTransform(str(features), known.get("feature_size")))


def told(backbone: nn.Module | None, classes: int | None, bank: Bank | None = None) -> dict:
    """What heads, losses and classifiers may ask for."""
    attributes = None if bank is None or bank.class_attributes is None else bank.class_attributes.shape[1]
    known = {"classes": classes, "attribute_size": attributes}
    if backbone is None:
        return known if bank is None or bank.is_images else known | {"feature_size": bank.items.shape[1]}
    names = [name for name in ("feature_size", "map_shape", "stage_sizes") if hasattr(backbone, name)]
    return known | {name: getattr(backbone, name) for name in names}
