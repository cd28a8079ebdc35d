"""Weights of files put into the learner of a run."""

from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf

from fewshot.cli.recipe import make_learner
from fewshot.data.bank import Bank
from fewshot.data.image_format import ImageFormat
from fewshot.device import draws_kept
from fewshot.errors import FewshotError
from fewshot.heads.feature_transform import Prepared
from fewshot.learners.learner import Learner
from fewshot.poolings.pooled import Pooled
from fewshot.training.checkpoint import backbone_weights, load_weights

_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def open_learner(path: Path | str, bank: Bank | None = None) -> Learner:
    """The learner whose weights the command `fewshot` wrote, in eval mode on the CPU.

    Its `image_format` says what images it was trained on; `in_format` brings a bank to it.

    Args:
        path: `best.safetensors` or `last.safetensors` of a run.
        bank: whose classes it will score; a learner that reads attributes needs it.

    Raises:
        FewshotError: the file is missing, damaged, or says nothing of the learner, or its parts cannot be made any more.
    """
    weights, facts = load_weights(path)
    if "config" not in facts or "images" not in facts:
        raise FewshotError(
            f"{path} does not say what learner it is of, as files of meta_train in Python do not; make the learner as it was made for "
            f"training, and give it load_weights(path)[0] of fewshot.training.checkpoint by load_state_dict"
        )
    config = without_pretraining(OmegaConf.create(facts["config"]))
    images = ImageFormat.from_json(facts["images"])
    undescribed = config.get("semantics") and (bank is None or bank.class_attributes is None)
    try:
        with draws_kept():
            learner = make_learner(config, images, facts.get("classes"), bank)
    except FewshotError as error:
        if not undescribed:
            raise
        raise FewshotError(
            f"{path} compares images with what text says of class names; give bank= with such class_attributes, or test it by the command"
        ) from error
    load_into(learner, weights, str(path), other_head=False)
    learner.image_format = images
    return learner.eval()


def without_pretraining(config: DictConfig) -> DictConfig:
    """The configuration of a learner whose weights come from a file: its backbone need not get any from elsewhere first."""
    config = config.copy()
    if "pretrained" in config.backbone:
        config.backbone.pretrained = False
    return config


def load_into(learner: Learner, weights: dict[str, torch.Tensor], checkpoint: str, other_head: bool) -> None:
    """Put weights into the learner; a head that was typed anew keeps its own."""
    head = getattr(learner, "head", None)
    # A learner that wraps another one has its head there.
    places = [f"{name}." for name, part in learner.named_modules() if part is head]
    own = tuple(places) if other_head else ()
    weights = {name: value for name, value in weights.items() if not name.startswith(own)}
    for place in places:
        weights = _as_prepared(weights, place, isinstance(head, Prepared))
    # Files of before had options of heads that no training changes.
    options = {name for name, _ in learner.named_buffers()} - set(learner.state_dict())
    weights = {name: value for name, value in weights.items() if name not in options}
    try:
        lacking, _ = learner.load_state_dict(weights, strict=False)
        mine = {name for name in lacking if not name.startswith(own) and name != "base_mean"}
        strange = set(weights) - set(learner.state_dict())
        if mine or strange:
            name = min(mine or strange)
            raise RuntimeError(f"{'it lacks' if mine else 'the learner has no'} {name}")
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise FewshotError(f"{checkpoint} does not fit this learner: {reason}") from error


def _as_prepared(weights: dict[str, torch.Tensor], place: str, prepared: bool) -> dict[str, torch.Tensor]:
    """Weights of a head under the names that they have with, or without, a preparation of its features."""
    inner = f"{place}head."
    if prepared == any(name.startswith(inner) for name in weights):
        return weights
    old, new = (place, inner) if prepared else (inner, place)
    return {f"{new}{name.removeprefix(old)}" if name.startswith(old) else name: v for name, v in weights.items()}


def start_from(learner: Learner, path: str, weights: dict[str, torch.Tensor], facts: dict, frozen: bool) -> str:
    """Put the backbone of a file of weights into the learner; what it was trained on, for the row."""
    weights = backbone_weights(weights)
    if not weights or not hasattr(learner, "backbone"):
        raise FewshotError(f"init={path} holds no backbone for this learner; give best.safetensors of a run")
    backbone = learner.backbone
    if isinstance(backbone, Pooled) and set(weights) <= set(backbone.backbone.state_dict()):
        # Weights of the backbone without this pooling, whose own start anew.
        backbone = backbone.backbone
    try:
        lacking, strange = backbone.load_state_dict(weights, strict=False)
        # A backbone that was normalised by each task's images has none; training finds them.
        statistics = [name for name in lacking if name.endswith(_STATISTICS)]
        if strange or len(statistics) < len(lacking):
            wrong = strange or [name for name in lacking if name not in statistics]
            raise RuntimeError(f"{'it has no' if strange else 'the file lacks'} {wrong[0]}")
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise FewshotError(f"init={path} does not fit backbone: {reason}") from error
    if statistics and frozen:
        raise FewshotError(
            f"init={path} has no BatchNorm statistics, as its images were normalised task by task; leave out "
            f"training.frozen_backbone, which could not find any"
        )
    before = facts.get("pretraining", "none")
    own = f"{facts.get('train_data', 'unknown data')}, {facts.get('train_protocol', 'unknown training')}"
    return own if before == "none" else f"{before}; {own}"
