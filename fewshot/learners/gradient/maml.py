"""`MAML`: a learner whose weights are adapted to each task by gradient steps on its support set."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fewshot.device import processes
from fewshot.episodes.episodes import Episodes
from fewshot.episodes.protocol import Protocol
from fewshot.episodes.support_split import SPLITS, check_split, split_support
from fewshot.errors import FewshotError
from fewshot.learners.feature_learner import FeatureLearner
from fewshot.learners.gradient.gradient_learner import GradientLearner, Mixing, counts_pairs
from fewshot.learners.gradient.inner_loop import (
    Weights,
    autograd_gradient,
    carrying,
    check_inner_gradients,
    descend,
    functional_gradient,
    step_weights,
)
from fewshot.learners.gradient.inner_rates import InnerRates
from fewshot.learners.learner import TrainingLoss
from fewshot.losses.loss_value import as_loss_value
from fewshot.task_augmentation.augmentation import fresh_rng

TASKS = ("auto", "loop", "vmap")


class MAML(GradientLearner):
    """Meta-learns the weights that a few gradient steps on a task's support set start from.

    `w_{t+1} = w_t - a * grad L(w_t; support)` for the adapted weights of a task, and the loss of its queries after the last
    step trains all weights, those that are not adapted and learned rates too. The losses are means over items: the
    rates of the authors' code, which sums over classes, are to be multiplied by the number of classes.

    With a `LinearHead` and all weights adapted this is MAML; with its head alone ANIL, with its backbone alone BOIL; with
    rates `per_weight` Meta-SGD; with `start=prototypes` Proto-MAML; with `multi_step` and rates `per_layer` the usable parts
    of MAML++. With another head it adapts a metric, or the embedding under a metric's loss.

    Tasks that a task augmentation mixes behind a block are mixed there under the weights of each step, those of the blocks
    before it too.

    Args:
        learner: what is adapted: backbone, head, and a loss of features.
        steps: in training.
        test_steps: in tests; None is as many as in training.
        lr: a of each step, or the start of learned ones.
        first_order: leave out how a step's gradient depends on the weights.
        adapts: `all`, or names of parts such as `head`, `backbone` or `[backbone.blocks.3, head]`.
        rates: `fixed`; `per_weight`, one for each number (Meta-SGD); `per_layer`, one for each tensor and step.
        split: what of the support a step learns from: `items`, `halves` or `leave_one_out`, see `split_support`.
        inner_loss: of a step; None is the learner's own.
        clip: largest norm of a step's gradient; None does not clip.
        norm: BatchNorm by the task's support (`support`), by the support and one query at a time (`support_plus_one`), by
            each set of the task itself (`transductive`), or as usual (`running`), for a backbone that is not adapted.
        multi_step: training episodes over which the query losses after all steps, at first counted alike, give way to the
            last one; 0 counts the last alone.
        tasks: `vmap` takes several tasks at a time, `loop` one; `auto` is the former on a GPU or where the backbone is not
            adapted.
        tasks_per_chunk: how many `vmap` takes at a time, which bounds memory.

    Raises:
        FewshotError: an unknown choice, a number out of range, a part that there is not, a head that needs a support set
            where the split leaves none, or one that makes its weights for each task and is not adapted.

    Source: Finn et al., Model-Agnostic Meta-Learning, 2017; Raghu et al., Rapid Learning or Feature Reuse?, 2020 (ANIL); Li
    et al., Meta-SGD, 2017; Antoniou et al., How to Train Your MAML, 2019.
    """

    def __init__(
        self,
        learner: FeatureLearner,
        steps: int = 5,
        test_steps: int | None = None,
        lr: float = 0.05,
        first_order: bool = False,
        adapts: str | Sequence[str] = "all",
        rates: str = "fixed",
        split: str = "items",
        inner_loss: nn.Module | None = None,
        clip: float | None = None,
        norm: str = "support",
        multi_step: int = 0,
        tasks: str = "auto",
        tasks_per_chunk: int = 8,
    ):
        super().__init__(learner, norm, adapts)
        for name, value, known in (("split", split, SPLITS), ("tasks", tasks, TASKS)):
            if value not in known:
                raise FewshotError(f"learner.{name}={value}; expected one of {', '.join(known)}")
        test_steps = steps if test_steps is None else test_steps
        counts = {"steps": steps, "test_steps": test_steps, "multi_step": multi_step}
        for name, value, least in (*((n, v, 0) for n, v in counts.items()), ("tasks_per_chunk", tasks_per_chunk, 1)):
            if value < least:
                raise FewshotError(f"learner.{name}={value}; expected at least {least}")
        if clip is not None and not clip > 0:
            raise FewshotError(f"learner.clip={clip}; expected more than 0, or null")
        self.steps, self.test_steps, self.first_order = steps, test_steps, first_order
        self.split, self.clip, self.tasks, self.tasks_per_chunk = split, clip, tasks, tasks_per_chunk
        self.multi_step = multi_step
        self.inner_loss = inner_loss
        self._one_by_one = counts_pairs(self.loss) or counts_pairs(inner_loss)
        if test_steps:
            self._check_split_suits_head()
        named = dict(learner.named_parameters())
        # Of rows that a head makes for each task: a rate for each number of a row, the same for all classes.
        rows = {n: torch.Size((1, *learner.get_buffer(n).shape[1:])) for n in self.adapted if n not in named}
        shapes = {name: rows[name] if name in rows else named[name].shape for name in self.adapted}
        self.rates = InnerRates(rates, lr, shapes, max(1, steps))
        self.register_buffer("episodes_trained", torch.zeros((), dtype=torch.int64))

    def check_protocol(self, protocol: Protocol) -> None:
        """Raise a FewshotError if the steps cannot learn from the support sets of such tasks."""
        if self.steps and self.test_steps:
            check_split(self.split, protocol.shots)
            self.check_pairs(self.loss if self.inner_loss is None else self.inner_loss, protocol)

    def check_training(self, compiled: bool, precision: str) -> None:
        inner = self.loss if self.inner_loss is None else self.inner_loss
        if self.steps and not self.adapts_backbone and getattr(inner, "counts_pairs", False):
            parts = sorted({name.partition(".")[0] for name in self.adapted})
            raise FewshotError(
                f"a loss over pairs of features has no gradient by {', '.join(parts)}, which is adapted here; use loss=cross_entropy, "
                f"or learner=maml"
            )
        if self.tasks == "vmap" and self._one_by_one:
            raise FewshotError(
                "learner.tasks=vmap cannot take a loss over pairs, of which each task has its own; use learner.tasks=loop"
            )
        if self.steps:
            self._check_split_suits_head()
            check_inner_gradients(
                type(self).__name__, self.adapts_backbone and not self.first_order, compiled, precision
            )

    def _check_split_suits_head(self) -> None:
        head = self.learner.head
        if self.split == "items" and getattr(head, "needs_support", getattr(head, "reads_support", True)):
            raise FewshotError(
                f"learner.split=items leaves no support to {type(head).__name__}; use halves or leave_one_out, or head=linear"
            )

    # Training.

    def training_loss(self, episodes: Episodes) -> TrainingLoss:
        trained = [p for p in self.parameters() if p.requires_grad]
        progress = float(self.episodes_trained) / self.multi_step if self.multi_step else 1.0
        counted = step_weights(self.steps, progress) if self.steps else [1.0]
        self.episodes_trained += len(episodes) * processes()
        self._look()
        features, mixing = None, None
        change = None if self.task_augmentation is None else self.task_augmentation.draw(episodes, fresh_rng())
        if self.adapts_backbone and change is not None:
            # Behind a block the maps depend on a task's weights, so pairs of images go with each task.
            mixing = (change.level, change.share) if change.level else None
            episodes = change.pairs(episodes) if mixing else change.items(episodes)
        if not self.adapts_backbone:
            features = self._features_of_all(episodes, change)
            # Tasks are differentiated down to their features, the backbone then once for all of them.
            body = set(self.backbone.parameters())
            trained = [p for p in trained if p not in body]
            episodes = features.with_items(*(x.detach().requires_grad_() for x in (features.support, features.query)))
            trained += [episodes.support, episodes.query]
        sums, gradients = None, None
        size = self._at_a_time(episodes)
        for i, chunk in enumerate(episodes.split(size)):
            found = self._losses(chunk, counted, mixing and (mixing[0], mixing[1][i * size : (i + 1) * size]))
            share = len(chunk) / len(episodes)
            if torch.is_grad_enabled():
                slopes = torch.autograd.grad(share * found.total, trained, allow_unused=True, materialize_grads=True)
                gradients = slopes if gradients is None else [a + b for a, b in zip(gradients, slopes, strict=True)]
            values = (found.total.detach(), found.accuracy, *found.parts.values())
            sums = [share * v + (0 if sums is None else s) for v, s in zip(values, sums or values, strict=True)]
        total, accuracy, *parts = sums
        if gradients is not None:
            inputs = trained if features is None else [*trained[:-2], features.support, features.query]
            total = carrying(total, dict(zip(inputs, gradients, strict=True)))
        return TrainingLoss(total, dict(zip(found.parts, parts, strict=True)), accuracy)

    def _losses(self, episodes: Episodes, counted: Sequence[float], mixing: Mixing) -> TrainingLoss:
        """The mean over a chunk of tasks."""
        if not self._vectorises(episodes):
            return self._task_loss(episodes, counted, autograd_gradient(not self.first_order), mixing)
        # Without mixing the shares are not looked at.
        level, shares = mixing or (0, torch.ones(len(episodes), device=episodes.device))

        def one(share: Tensor, *items: Tensor) -> TrainingLoss:
            gradient = functional_gradient(not self.first_order)
            task = Episodes(*(x[None] for x in items))
            return self._task_loss(task, counted, gradient, mixing and (level, share[None]))

        with self._vectorised():
            found = torch.vmap(one, randomness="different")(shares, *episodes.tensors())
        parts = {name: value.mean() for name, value in found.parts.items()}
        return TrainingLoss(found.total.mean(), parts, found.accuracy.mean())

    def _task_loss(self, task: Episodes, counted: Sequence[float], gradient, mixing: Mixing) -> TrainingLoss:
        trail = self._adapted(task, self.steps, gradient, mixing)
        if self.steps:
            next(trail)
        total = 0.0
        for weights, share in zip(trail, counted, strict=True):
            if share:
                found = self._outer(weights, task, "loss_of_features", mixing)
                total = total + share * found.total
        return TrainingLoss(total, found.parts, found.accuracy)

    # Prediction.

    def predict(self, episodes: Episodes) -> Float[Tensor, "b q n"]:
        return self._predict(episodes if self.adapts_backbone else self._features_of_all(episodes))

    def predict_features(self, episodes: Episodes) -> Float[Tensor, "b q n"]:
        return self._predict(episodes)

    def _predict(self, episodes: Episodes) -> Float[Tensor, "b q n"]:
        self._look()
        if not self._vectorises(episodes):
            return torch.cat([self._task_logits(task, autograd_gradient(False)) for task in episodes.split(1)])

        def one(*items: Tensor) -> Tensor:
            return self._task_logits(Episodes(*(x[None] for x in items)), functional_gradient(False))[0]

        with self._vectorised():
            return torch.vmap(one, randomness="different", chunk_size=self._at_a_time(episodes))(*episodes.tensors())

    def _task_logits(self, task: Episodes, gradient) -> Float[Tensor, "1 q n"]:
        with torch.no_grad():
            for weights in self._adapted(task, self.test_steps, gradient):
                last = weights
            return self._outer(last, task, "predict_features")

    # One task. Its items are images where the backbone is adapted, features where it is not.

    def _adapted(self, task: Episodes, steps: int, gradient, mixing: Mixing = None) -> Iterator[Weights]:
        """The weights before and after each step."""
        named = dict(self.learner.named_parameters())
        weights = {name: named[name] for name in self.adapted if name in named}
        if getattr(self.learner.head, "makes_weights", False):
            began = self.learner.head.start(self._features(weights, task.without_queries(), mixing))
            weights |= {f"head.{name}": w[0] for name, w in began.items() if f"head.{name}" in self.adapted}

        def loss(weights: Weights) -> Tensor:
            inner = split_support(self._features(weights, task.without_queries(), mixing), self.split)
            if self.inner_loss is None:
                return self._call(weights, "loss_of_features", inner).total
            made = self.inner_loss(inner, self._call(weights, "predict_features", inner))
            return as_loss_value(made, self.inner_loss).total

        return descend(weights, loss, self.rates, steps, gradient, self.clip)

    # Several tasks.

    def _vectorises(self, episodes: Episodes) -> bool:
        if self._one_by_one:
            return False
        if self.tasks == "auto":
            return episodes.device.type == "cuda" or not self.adapts_backbone
        return self.tasks == "vmap"

    def _at_a_time(self, episodes: Episodes) -> int:
        return self.tasks_per_chunk if self._vectorises(episodes) else 1

    @contextmanager
    def _vectorised(self):
        self._say_vectorising(True)
        try:
            yield
        finally:
            self._say_vectorising(False)

    def _say_vectorising(self, now: bool) -> None:
        self._vectorising = now
        for norm in self.norms:
            norm.by_hand = now
