"""The meta-training loop."""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import torch
from torch import nn

from fewshot.augment.pixels import Augment
from fewshot.data.bank import Bank
from fewshot.data.image_format import in_format
from fewshot.device import draws_kept
from fewshot.episodes.images import ImageProtocol, ImageSampler
from fewshot.episodes.protocol import Protocol
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.episodes.views import ViewProtocol, ViewSampler
from fewshot.errors import FewshotError, check_kind
from fewshot.evaluation.scoring import evaluate
from fewshot.learners.learner import Learner, check_image_format, check_tasks, trained_format
from fewshot.learners.own_parts import check_own_parts
from fewshot.training.base_features import tell_base_features
from fewshot.training.fabric import Trainer, make_fabric
from fewshot.training.lightning import Fabric
from fewshot.training.result import TrainingResult
from fewshot.training.schedule import Constant
from fewshot.training.settings import TrainingSettings
from fewshot.training.trainable import check_trainable
from fewshot.training.training_run import CHECKPOINT, TrainingRun

_ADAM = partial(torch.optim.Adam, lr=1e-3)
_CONSTANT, _SETTINGS, _TRAINER = Constant(), TrainingSettings(), Trainer()


def meta_train(
    learner: Learner,
    bank: Bank,
    protocol: Protocol | ImageProtocol,
    validation_bank: Bank | None = None,
    validation_protocol: Protocol | None = None,
    *,
    base_bank: Bank | None = None,
    optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer] = _ADAM,
    schedule: Callable[[int, int], float] = _CONSTANT,
    settings: TrainingSettings = _SETTINGS,
    augment: Augment | None = None,
    fabric: Fabric | None = None,
    trainer: Trainer = _TRAINER,
    folder: Path | str | None = None,
    resume: bool = False,
    facts: dict | None = None,
    show_progress: bool = True,
) -> TrainingResult:
    """Train `learner` on episodes of `bank`; it ends with the weights that validated best.

    Training episode i, validation episodes and the numbers drawn inside a step depend on the seeds
    of the protocols and on i alone. With a `folder`, killing the process at any moment and calling again
    with `resume=True` gives the same weights and curve, bit for bit on one CPU.

    Args:
        learner: what is trained, in place.
        bank: meta-training classes.
        protocol: training episodes; `protocol.episodes` is the length of training. An `ImageProtocol` for a learner
            that trains on images, a `ViewProtocol` for training without labels (validation uses labels all the same).
        validation_bank: validation classes; None trains to the end and keeps the last weights.
        validation_protocol: validation episodes; by default 500 of those of `protocol`.
        base_bank: the images of `bank` as tests show them, whose frozen features the learner hears of; by default those of `bank`,
            scaled as a whole where `augment` makes another size of them.
        optimizer: parameters to an optimiser; by default Adam at 1e-3.
        schedule: `(episodes done, all episodes) -> factor` on the learning rates.
        settings: how the loop runs.
        augment: changes training images, `(images in 0..1, generator) -> images`.
        fabric: a launched Fabric; by default one is made of `trainer`.
        trainer: device, precision, memory layout.
        folder: where weights, checkpoints and the curve are written; None writes nothing.
        resume: go on from the checkpoint in `folder`, if there is one.
        facts: plain JSON kept inside the files of weights.
        show_progress: print what goes on.

    Raises:
        FewshotError: the protocol does not fit the bank or the learner, the checkpoint belongs to another run, rates are of parts
            that the learner has not, or the loss is no longer a number.
    """
    _check_kinds(learner, bank, protocol, validation_bank, validation_protocol, base_bank)
    if isinstance(optimizer, torch.optim.Optimizer) or not callable(optimizer):
        raise FewshotError(
            f"optimizer is a {type(optimizer).__name__}; expected what makes one of parameters, such as "
            f"functools.partial(torch.optim.Adam, lr=1e-3)"
        )
    fabric = fabric or make_fabric(trainer)
    settings.check_steps(protocol.episodes, fabric.world_size)
    learner.check_training(trainer.compile, str(trainer.precision))
    check_trainable(learner, protocol, settings.tasks_per_step // fabric.world_size)
    if settings.frozen_backbone and (bank.is_images or any(p.requires_grad for p in learner.backbone.parameters())):
        raise FewshotError(
            "frozen_backbone: give banks of features and learner.backbone.requires_grad_(False), as training.frozen_backbone=true "
            "of the command does"
        )
    check_own_parts(learner.to(fabric.device), bank, protocol, augment)
    images = trained_format(bank, augment) if bank.is_images else learner.image_format
    for other in (validation_bank, base_bank):
        if other is not None:
            check_image_format(images, other, "fewshot.learners.learner.trained_format(bank, augment)")
    bank = bank.near(fabric.device)
    if base_bank is not None:
        base = base_bank.near(fabric.device)
    else:
        base = in_format(bank, images) if bank.is_images and learner.scores_frozen_features else bank
    if not learner.reads_attributes:
        bank, base = bank.without_attributes(), base.without_attributes()
    if learner.trains_on_images:
        sampler = ImageSampler(bank, protocol, augment, channels_last=trainer.channels_last)
    else:
        source = ViewSampler if isinstance(protocol, ViewProtocol) else EpisodeSampler
        check_tasks(learner, bank, protocol)
        sampler = source(bank, protocol, augment, channels_last=trainer.channels_last)
    validation = None
    if validation_bank is not None and settings.validate_every > 0:
        validation_bank = validation_bank.near(fabric.device)
        if validation_protocol is None:
            shown = Protocol() if learner.trains_on_images else protocol
            validation_protocol = Protocol(shown.way, shown.shot, shown.query, episodes=500)
        check_tasks(learner, validation_bank, validation_protocol)
        EpisodeSampler(validation_bank, validation_protocol)

        def validation():
            if learner.needs_base_mean or learner.fits_base_classes:
                tell_base_features(learner, base)
            return evaluate(learner, validation_bank, validation_protocol, shared=True)

    run = TrainingRun(fabric, learner, sampler, base, optimizer, schedule, settings, trainer, facts or {})
    if folder is not None:
        run.folder = Path(folder)
        if resume and (run.folder / CHECKPOINT).is_file():
            run.restore()
    learner.image_format = images
    # What training draws is seeded step by step; the caller's own draws go on as if there had been none.
    with draws_kept():
        run.loop(validation, show_progress)
        run.finish()
    return TrainingResult(run.rows, run.done, run.best["episodes"], run.best["accuracy"])


def _check_kinds(
    learner: object,
    bank: object,
    protocol: object,
    validation_bank: object,
    validation_protocol: object,
    base_bank: object,
) -> None:
    if not hasattr(learner, "training_loss"):
        # A compiled learner is none by its class.
        check_kind("learner", learner, Learner, "MetricLearner(backbone, head, loss)")
    for name, given in (("bank", bank), ("validation_bank", validation_bank), ("base_bank", base_bank)):
        if given is not None or name == "bank":
            check_kind(name, given, Bank, 'open_dataset("glyphs").bank("train")')
    if learner.trains_on_images:
        check_kind(
            "protocol", protocol, ImageProtocol, "ImageProtocol(images=epochs * len(bank)) of fewshot.episodes.images"
        )
    else:
        check_kind("protocol", protocol, Protocol, "Protocol(way=5, shot=1)")
    if validation_protocol is not None:
        check_kind("validation_protocol", validation_protocol, Protocol, "Protocol(way=5, shot=1)")
