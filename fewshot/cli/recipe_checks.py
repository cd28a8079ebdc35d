"""What must hold before a run begins to train."""

import math
from collections.abc import Iterable, Sequence

import hydra
import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from fewshot.augment.pixels import Augment
from fewshot.cli.recipe import innermost, makes_new_tasks, parts_of_learner
from fewshot.cli.recipe_text import describe
from fewshot.cli.typed import plain
from fewshot.data.bank import Bank
from fewshot.device import draws_kept
from fewshot.episodes.protocol import Protocol
from fewshot.episodes.views import ViewProtocol
from fewshot.errors import FewshotError
from fewshot.heads.catalog import has_untrained_weights, make_head
from fewshot.heads.contract import check_head
from fewshot.heads.feature_transform import bare
from fewshot.learners.feature_learner import FeatureLearner
from fewshot.learners.learner import Learner
from fewshot.learners.own_parts import is_own


def check_seed(seed: object) -> None:
    """Raise a FewshotError unless `seed` can seed a run."""
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise FewshotError(f"seed={seed!r}; expected a whole number of at least 0, below 2^63")


def check_finite(config: DictConfig) -> None:
    """Raise a FewshotError if any number of a configuration is infinite or none."""

    def look(value: object, where: str) -> None:
        if isinstance(value, dict | list):
            parts = value.items() if isinstance(value, dict) else enumerate(value)
            for key, part in parts:
                look(part, f"{where}.{key}" if where else str(key))
        elif isinstance(value, float) and not math.isfinite(value):
            raise FewshotError(f"{where}={value}; expected a finite number")

    look(OmegaConf.to_container(config, resolve=False), "")


def check_parts(config: DictConfig) -> None:
    """Raise a FewshotError if what was chosen of a group does not say what it makes."""
    for name in ("backbone", "head", "loss", "classifier", "learner", "augment", "optimizer", "schedule"):
        node = config.get(name)
        if name in config and not (OmegaConf.is_dict(node) and "_target_" in node):
            raise FewshotError(
                f"{name}={plain(node)!r} has no _target_; its file names the class as `_target_: module.Class`"
            )


def check_used(config: DictConfig, overrides: Iterable[str]) -> None:
    """Raise a FewshotError if a loss or a classifier was typed that the learner does not take, and would be ignored."""
    # Neither what is taken away, nor what is put elsewhere (`loss@place=...`).
    keys = [text.lstrip("+").partition("=")[0] for text in overrides if not text.startswith("~")]
    typed_keys = {key.partition(".")[0] for key in keys if "@" not in key}
    unused = typed_keys & ({"loss", "classifier"} - set(parts_of_learner(config)))
    target = str(innermost(config.learner)._target_)
    try:
        hydra.utils.get_object(target)
    except ImportError:
        # Making the learner will say so.
        return
    if unused:
        name = min(unused)
        raise FewshotError(
            f"{name}={describe(config[name])}: {target.rpartition('.')[2]} takes no {name}; leave it out, or choose another learner="
        )


def check_views(protocol: Protocol, augment: Augment, bank: Bank, classifies: bool) -> None:
    """Raise a FewshotError if a training without labels would use them, or its views are all the same."""
    if not isinstance(protocol, ViewProtocol):
        return
    if classifies:
        raise FewshotError("a classifier is trained on labels; use learner=protoclr, or leave episodes=unlabelled out")
    # So often that chance does not leave all of them as they are.
    images = (bank.items[:1] / 255).expand(64, -1, -1, -1)
    if torch.equal(augment(images, torch.Generator(images.device).manual_seed(0)), images):
        raise FewshotError(
            "episodes=unlabelled with an augmentation that changes nothing: all views of an image are the same; choose "
            "augment=views_drawings, views_photos or another"
        )


def check_frozen(config: DictConfig, learner: Learner, pretraining: str) -> None:
    """Raise a FewshotError if a backbone that is not trained has learned nothing, or training changes its images."""
    changes = describe(config.augment)
    if pretraining == "none" and any(True for _ in learner.backbone.parameters()):
        raise FewshotError("training.frozen_backbone=true would leave random weights as they are; give init=")
    if changes != "image_augment":
        raise FewshotError(
            f"training.frozen_backbone=true embeds each image once, as it is; leave out augment={changes}"
        )
    if config.data.get("training_pipeline") is not None:
        raise FewshotError(
            "training.frozen_backbone=true embeds each image once, as tests see it; leave out data.training_pipeline"
        )
    if makes_new_tasks(config):
        raise FewshotError(
            "training.frozen_backbone=true embeds each image once, and new tasks are made of images; leave out task_augmentation"
        )


def check_untrained_options(nodes: Sequence[DictConfig], known: dict) -> None:
    """Raise a FewshotError if a head's nodes differ in what training started with: the trained value takes its place.

    Args:
        nodes: of the head as it was trained, and with other options.
        known: what heads may ask for.
    """
    first, *others = nodes
    changed = [[name for name in other if name not in first or other[name] != first[name]] for other in others]
    before = _start_values(first, known) if any(changed) else {}
    for other, names in zip(others, changed, strict=True):
        for name, value in (_start_values(other, known) if names else {}).items():
            if name in before and before[name].shape == value.shape and not torch.equal(before[name], value):
                raise FewshotError(
                    f"head.{' and head.'.join(names)}: training went on from that value, and a test has the trained one; type head= "
                    f"too for a new head, or leave it out"
                )


def _start_values(node: DictConfig, known: dict) -> dict[str, torch.Tensor]:
    with draws_kept():
        torch.manual_seed(0)
        return {name: p.detach() for name, p in bare(make_head(node, known)).named_parameters()}


def check_percent(heads: Iterable[nn.Module | None], bank: Bank) -> None:
    """Raise a FewshotError if a head takes what is known of classes for percent, and it is none."""
    known = bank.class_attributes
    for head in heads:
        scaling = None if head is None else getattr(bare(head), "scaling", None)
        if scaling in ("percent", "binary") and known is not None and float(known.max()) <= 1:
            raise FewshotError(
                f"head.scaling={scaling} is for percent, 0 to 100; what is known of the classes of {bank.name} goes up to "
                f"{float(known.max()):g}, so use raw or unit"
            )


def check_own_heads(learner: Learner, others: Iterable[nn.Module | None], bank: Bank, protocol: Protocol) -> None:
    """Raise a FewshotError if a head that is not of this package does not score tasks as evaluation expects.

    Args:
        learner: has a head of its own, or not.
        others: further heads of its features.
        bank: of the test.
        protocol: of the test.
    """
    if not isinstance(learner, FeatureLearner):
        return
    known = None if bank.class_attributes is None else bank.class_attributes.shape[1]
    for head in dict.fromkeys([learner.head, *(head for head in others if head is not None)]):
        innermost = bare(head)
        # A fit to the base classes comes later, and those of this package have tests.
        if is_own(innermost) and not getattr(head, "fits_base", False):
            size, shot = learner.backbone.feature_size, max(protocol.shots)
            check_head(head, size, way=protocol.way, shot=shot, attribute_size=known)


def check_trained(head: nn.Module, text: str) -> None:
    """Raise a FewshotError if a head has random weights, which nothing here has trained or will train."""
    if has_untrained_weights(head):
        raise FewshotError(
            f"{text} has weights of its own, which were not trained with this backbone; train with it (learner=metric), or "
            f"test with another head"
        )
