"""Meta-test: a learner's accuracy on the episodes of a protocol."""

import time

import numpy as np
import torch
from torch import nn
from torch.nn.functional import one_hot

from fewshot.data.bank import Bank
from fewshot.device import device_of, in_32_bits, keep_freed_memory, widest_float
from fewshot.episodes.episodes import Episodes
from fewshot.episodes.protocol import Protocol
from fewshot.episodes.sampler import EpisodeIndices, EpisodeSampler
from fewshot.errors import FewshotError, check_kind
from fewshot.evaluation.embedding import embed_bank
from fewshot.evaluation.evaluation import Evaluation
from fewshot.evaluation.predictions import Predictions
from fewshot.heads.contract import DEPENDENT
from fewshot.heads.feature_transform import bare
from fewshot.learners.feature_learner import takes_features_as_they_are
from fewshot.learners.head_alone import HeadAlone
from fewshot.learners.learner import Learner, check_image_format, check_tasks
from fewshot.shared_work import own_share, put_together

# Features of tasks that are scored together: on a CPU so few that they stay in its caches.
_BATCH_NUMBERS = {"cpu": 2**21, "others": 2**23}


@in_32_bits()
def evaluate(
    learner: nn.Module,
    bank: Bank,
    protocol: Protocol,
    tasks_per_batch: int | None = None,
    embedded: Bank | None = None,
    observe: Predictions | None = None,
    shared: bool = False,
    base: Bank | None = None,
) -> Evaluation:
    """Score `learner` on the first `protocol.episodes` episodes of `protocol` on `bank`.

    The learner is in eval mode meanwhile (BatchNorm uses what it saw in training) and is left in
    the mode it was in. Everything is computed in 32 bits. A learner that scores frozen features has each image embedded once.

    Args:
        learner: on any device; `bank`, or where it does not fit what is needed of it, is moved to it. A head by itself scores a bank of features, on the device of those.
        bank: classes that the learner was not trained on.
        protocol: what an episode is, and how many.
        tasks_per_batch: tasks scored at a time; by default what fits 8 MB on a CPU, 32 MB elsewhere.
        embedded: `embed_bank(learner, bank)`, for those who score the same features several times.
        observe: gathers what is said of each query, for diagnostics.
        shared: whether all processes call this together and share the tasks; each gets the whole. Not with `observe`.
        base: features of the base classes, for a head by itself that takes their mean off or is fitted to them.

    Raises:
        FewshotError: the protocol does not fit the bank or the learner, images are not of the form that was trained on, features
            are no numbers, or the learner says that it is inductive and predicts queries by the others.
    """
    if tasks_per_batch is not None and not (hasattr(tasks_per_batch, "__index__") and tasks_per_batch > 0):
        raise FewshotError(f"tasks_per_batch={tasks_per_batch!r}; expected a whole number of at least 1")
    check_kind("bank", bank, Bank, 'open_dataset("glyphs").bank("test")')
    check_kind("protocol", protocol, Protocol, "Protocol(way=5, shot=1)")
    learner = _as_learner(learner, bank, base)
    check_tasks(learner, bank, protocol)
    _check_banks(learner, bank, embedded)
    keep_freed_memory()
    drawn = EpisodeSampler(bank, protocol).indices(0, protocol.episodes)
    device = device_of(learner, bank.device)
    # Of images that were embedded before, nothing is read any more.
    bank = bank.near(device) if embedded is None else bank
    started = time.perf_counter()
    mode = learner.training
    learner.eval()
    try:
        frozen = learner.scores_frozen_features and bank.is_images
        source = bank
        if frozen:
            source = embed_bank(learner, bank, needed=_used(drawn), shared=shared) if embedded is None else embedded
        if not source.is_images:
            _check_features(source, drawn)
        source = source if learner.reads_attributes else source.without_attributes()
        sampler = EpisodeSampler(source, protocol, channels_last=True)
        if not learner.transductive:
            first = sampler.episodes(0, min(2, protocol.episodes)).to(device)
            _check_inductive(learner, _predict(learner, source), first)
        accuracies, macro_accuracies = score(learner, sampler, drawn, tasks_per_batch, observe, shared)
    finally:
        learner.train(mode)
    return Evaluation(
        accuracies=accuracies,
        macro_accuracies=macro_accuracies,
        protocol=protocol,
        data=bank.name,
        split=bank.split,
        pipeline=bank.pipeline,
        bank_fingerprint=bank.made_of or bank.fingerprint,
        episodes_sha256=drawn.sha256(),
        transductive=learner.transductive,
        side_information=side_information(learner, bank),
        seconds=time.perf_counter() - started,
        device=device,
    )


def _as_learner(learner: nn.Module, bank: Bank, base: Bank | None) -> nn.Module:
    """A head by itself as a learner of features; learners as they are."""
    if base is not None:
        check_kind("base", base, Bank, "Bank.of(base_features, base_labels)")
    # A compiled learner is none by its class.
    if not isinstance(learner, Learner) and not hasattr(learner, "scores_frozen_features"):
        return HeadAlone.scoring(learner, bank, base)
    if base is not None:
        raise FewshotError("base= is for a head by itself; a learner has heard of its base classes in training")
    return learner


def _check_banks(learner: nn.Module, bank: Bank, embedded: Bank | None) -> None:
    """Raise a FewshotError if items are not of the form that a learner takes, or features of other items."""
    check_image_format(learner.image_format, bank)
    size = learner.backbone.feature_size if takes_features_as_they_are(learner) else None
    if not bank.is_images and size is not None and bank.items.shape[1] != size:
        raise FewshotError(f"{bank.name}/{bank.split} has {bank.items.shape[1]} features, the learner makes {size}")
    if embedded is not None:
        check_kind("embedded", embedded, Bank, "embed_bank(learner, bank)")
        if embedded.is_images or not torch.equal(embedded.counts, bank.counts):
            raise FewshotError("embedded is of other items than bank; expected embed_bank(learner, bank)")


def score(
    learner: Learner,
    sampler: EpisodeSampler,
    drawn: EpisodeIndices,
    tasks_per_batch: int | None = None,
    observe: Predictions | None = None,
    shared: bool = False,
) -> np.ndarray:
    """Accuracies and macro accuracies of given tasks, float64 `[2, tasks]`, 0 to 1.

    Args:
        learner: in eval mode, on any device.
        sampler: of the bank: images, or features that the learner made of them.
        drawn: the tasks.
        tasks_per_batch: by default what fits 8 MB on a CPU, 32 MB elsewhere.
        observe: gathers what is said of each query.
        shared: whether all processes call this together and share the batches of tasks.
    """
    protocol, bank = sampler.protocol, sampler.bank
    device = device_of(learner, bank.device)
    if tasks_per_batch is None:
        numbers = (protocol.support_size + protocol.query_size) * bank.items[0].numel()
        most = _BATCH_NUMBERS["cpu" if device.type == "cpu" else "others"]
        tasks_per_batch = max(1, min(256, most // numbers))
    starts = range(0, len(drawn.classes), tasks_per_batch)
    found = torch.zeros(2, len(drawn.classes), dtype=widest_float(device), device=device)
    for _, start in own_share(starts) if shared else enumerate(starts):
        episodes = sampler.gather(drawn[start : start + tasks_per_batch], start).to(device)
        found[:, start : start + tasks_per_batch] = _accuracies(_predict(learner, bank), episodes, observe)
    return (put_together(found) if shared else found).cpu().double().numpy()


def _predict(learner: Learner, bank: Bank):
    return learner.predict if bank.is_images else learner.predict_features


def side_information(learner: Learner, bank: Bank) -> str:
    """What a learner is shown of the classes of a bank beside their images, or `none`."""
    return bank.attributes_name if learner.reads_attributes and bank.class_attributes is not None else "none"


def _check_features(bank: Bank, drawn: EpisodeIndices) -> None:
    """Raise a FewshotError if features of any episode are infinite or no numbers, of which every prediction would be wrong."""
    bad = (~torch.linalg.vector_norm(bank.items, ord=torch.inf, dim=1).isfinite()).nonzero().flatten().cpu()
    if not len(bad):
        # As nearly always: what the episodes use takes longer to gather.
        return
    used = _used(drawn)
    bad = bad[torch.isin(bad, used)]
    if len(bad):
        first = int(bad[0])
        raise FewshotError(
            f"{len(bad)} of {len(used)} items of {bank.name}/{bank.split} have features that are infinite or no numbers, "
            f"the first of them item {first} of class {bank.class_names[bank.labels[first]]!r}; leave such out, or take weights of a training that "
            f"did not diverge"
        )


def _used(drawn: EpisodeIndices) -> torch.Tensor:
    """The items that occur in any episode: few episodes need few of a large bank's images."""
    return torch.from_numpy(np.unique(np.concatenate([drawn.support.ravel(), drawn.query.ravel()])))


def _scores(predict, episodes: Episodes) -> torch.Tensor:
    logits = predict(episodes)
    expected = [*episodes.query_labels.shape, episodes.way]
    if not torch.is_tensor(logits) or not logits.is_floating_point() or list(logits.shape) != expected:
        found = f"{logits.dtype} {list(logits.shape)}" if torch.is_tensor(logits) else f"a {type(logits).__name__}"
        raise FewshotError(
            f"scores of the queries are {found}; expected real numbers {expected}, as check_head asks of a head"
        )
    return logits


@torch.no_grad()
def _accuracies(predict, episodes: Episodes, observe: Predictions | None) -> torch.Tensor:
    """Shares of right queries, over all of a task's and over each class's, `[2, B]`."""
    logits = _scores(predict, episodes)
    if observe is not None:
        observe.add(episodes, logits)
    # The largest of scores that are no numbers would be the first class, and right as often as chance.
    wide = widest_float(logits.device)
    right = ((logits.argmax(-1) == episodes.query_labels) & ~logits.isnan().any(-1)).to(wide)
    member = one_hot(episodes.query_labels, episodes.way).to(wide)
    counts = member.sum(1)
    of_class = (right[:, None] @ member).squeeze(1) / counts.clamp_min(1)
    return torch.stack([right.mean(1), of_class.sum(1) / (counts > 0).sum(1)])


@torch.no_grad()
def _check_inductive(learner: Learner, predict, episodes: Episodes) -> None:
    """Raise a FewshotError if the first queries are predicted otherwise when the others are not there."""
    few = (episodes.query.shape[1] + 1) // 2
    alone = episodes.with_first_queries(few)
    scores, fewer = _scores(predict, episodes)[:, :few], _scores(predict, alone)
    finite = scores.isfinite() & fewer.isfinite()
    if not finite.any():
        raise FewshotError(
            f"the scores of {_scorer(learner)} are no numbers; where it takes steps, use a smaller rate (learner.lr)"
        )
    change = (scores - fewer).abs()[finite].max() / scores[finite].abs().max().clamp_min(1e-12)
    if change > DEPENDENT:
        raise FewshotError(
            f"{_scorer(learner)} says that it is inductive, but its scores change by a share of {float(change):.2g} when other queries are "
            f"left out; set transductive = True, or keep BatchNorm out of training mode"
        )


def _scorer(learner: Learner) -> str:
    """The class that scores, without what prepares features for it."""
    part = getattr(learner, "head", learner)
    return type(bare(part)).__name__
