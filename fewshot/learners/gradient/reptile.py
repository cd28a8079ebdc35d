"""`Reptile`: a learner whose weights move towards those that ordinary training on each task finds."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from fewshot.episodes.episodes import Episodes
from fewshot.episodes.protocol import Protocol
from fewshot.errors import FewshotError
from fewshot.learners.feature_learner import FeatureLearner
from fewshot.learners.gradient.gradient_learner import GradientLearner
from fewshot.learners.gradient.inner_loop import Weights, autograd_gradient, carrying, check_inner_gradients
from fewshot.learners.learner import TrainingLoss
from fewshot.task_augmentation.augmentation import fresh_rng

INNER_OPTIMIZERS = ("adam", "sgd")
_DECAY, _EPSILON = 0.999, 1e-8


class Reptile(GradientLearner):
    """Meta-learns a start for training on a task, by first-order steps and without a query set.

    `w <- w + e * mean_i(w_k^i - w)`, with `w_k^i` the weights after k steps from w on mini-batches of all items, support and
    query alike, of task i. The step e is the rate of the outer optimiser, plain SGD: the gradient that it gets is
    `w - mean_i w_k^i`. At k = 1 with `optimizer=sgd` this is training on all tasks together.

    Mini-batches run through the items of a task in an order that is drawn anew each time round; a batch may hold the end of
    one round and the start of the next. Adam has no first moment here; its second moment goes from task to
    task in training, and in a test each task starts from what training left.

    Args:
        learner: what is trained: backbone, `LinearHead`, and a loss of features that needs no support.
        steps: k, in training.
        test_steps: in tests.
        lr: of a step.
        optimizer: of the steps, `adam` or `sgd`.
        batch_size: items of a training step; None takes all.
        test_batch_size: of a step in tests; None takes all.
        adapts: `all`, or names of parts such as `head`, `backbone` or `[backbone.blocks.3, head]`. Others are not trained.
        norm: BatchNorm in tests, see `GradientLearner`; in training it is that of each mini-batch. The authors'
            figures without transduction are of `support_plus_one`.
        seed: of the mini-batches.

    Raises:
        FewshotError: an unknown choice, a number out of range, a head that needs a support set, or a task augmentation
            behind a block.

    Source: Nichol, Achiam and Schulman, On First-Order Meta-Learning Algorithms, 2018, algorithms 1 and 2 and section 6;
    the authors' code for Adam, mini-batches and BatchNorm.
    """

    def __init__(
        self,
        learner: FeatureLearner,
        steps: int = 5,
        test_steps: int = 50,
        lr: float = 1e-3,
        optimizer: str = "adam",
        batch_size: int | None = 10,
        test_batch_size: int | None = 5,
        adapts: str | Sequence[str] = "all",
        norm: str = "support_plus_one",
        seed: int = 0,
    ):
        super().__init__(learner, norm, adapts)
        if optimizer not in INNER_OPTIMIZERS:
            raise FewshotError(f"learner.optimizer={optimizer}; expected one of {', '.join(INNER_OPTIMIZERS)}")
        sizes = {"batch_size": batch_size, "test_batch_size": test_batch_size}
        least = {"steps": (steps, 1), "test_steps": (test_steps, 0)} | {
            k: (v, 1) for k, v in sizes.items() if v is not None
        }
        for name, (value, minimum) in least.items():
            if value < minimum:
                raise FewshotError(f"learner.{name}={value}; expected at least {minimum}")
        if not lr > 0:
            raise FewshotError(f"learner.lr={lr}; expected more than 0")
        if getattr(learner.head, "reads_support", True) or getattr(learner.head, "makes_weights", False):
            raise FewshotError(
                f"Reptile trains on single items, which {type(learner.head).__name__} does not score; use head=linear"
            )
        if self.task_augmentation is not None and max(self.task_augmentation.levels) > 0:
            raise FewshotError(
                f"Reptile changes tasks at the images alone, not at levels {list(self.task_augmentation.levels)}; use "
                f"task_augmentation.levels=[0]"
            )
        self.steps, self.test_steps, self.lr, self.optimizer = steps, test_steps, lr, optimizer
        self.batch_size, self.test_batch_size, self.seed = batch_size, test_batch_size, seed
        named = dict(learner.named_parameters())
        # Names of buffers must not hold dots.
        self._moments = {name: f"second_moment/{name.replace('.', '/')}" for name in self.adapted}
        for name, buffer in self._moments.items():
            self.register_buffer(buffer, torch.zeros_like(named[name]))
        self.register_buffer("steps_taken", torch.zeros((), dtype=torch.int64))
        self.register_buffer("tasks_trained", torch.zeros((), dtype=torch.int64))

    def check_training(self, compiled: bool, precision: str) -> None:
        check_inner_gradients(type(self).__name__, False, compiled, precision)

    def check_protocol(self, protocol: Protocol) -> None:
        """Raise a FewshotError if the steps cannot learn from the support sets of such tasks."""
        if self.test_steps:
            self.check_pairs(self.loss, protocol)

    def training_loss(self, episodes: Episodes) -> TrainingLoss:
        self._look()
        named = dict(self.learner.named_parameters())
        if self.task_augmentation is not None:
            episodes = self.task_augmentation.draw(episodes, fresh_rng()).items(episodes)
        start = {name: named[name].detach() for name in self.adapted}
        if not self.adapts_backbone:
            with torch.no_grad():
                episodes = self._features_of_all(episodes)
        totals, moved = [], {name: torch.zeros_like(w) for name, w in start.items()}
        for task in episodes.split(1):
            pool = _pooled(task)
            # Torch's generator looks at 32 bits alone; an odd factor near the golden ratio of 2^32 keeps the tasks of seeds apart.
            own = (int(self.tasks_trained) + self.seed * 0x9E3779B1) % 2**32
            generator = torch.Generator().manual_seed(own)
            self.tasks_trained += 1
            trail = self._trained(start, pool, self.steps, self.batch_size, generator, self._state(copied=False))
            for after, found in trail:
                weights = after
                totals.append((found.total.detach(), found.accuracy))
            for name, w in weights.items():
                moved[name] += (w - start[name]) / len(episodes)
        # Means over all steps, each before it is taken.
        loss, accuracy = (torch.stack(values).mean() for values in zip(*totals, strict=True))
        if torch.is_grad_enabled():
            loss = carrying(loss, {named[name]: -step for name, step in moved.items()})
        return TrainingLoss(loss, {"inner": loss.detach()}, accuracy)

    def predict(self, episodes: Episodes) -> Float[Tensor, "b q n"]:
        return self.predict_features(episodes if self.adapts_backbone else self._features_of_all(episodes))

    def predict_features(self, episodes: Episodes) -> Float[Tensor, "b q n"]:
        self._look()
        return torch.cat([self._task_logits(task) for task in episodes.split(1)])

    @torch.no_grad()
    def _task_logits(self, task: Episodes) -> Float[Tensor, "1 q n"]:
        weights = {name: w for name, w in self.learner.named_parameters() if name in self._moments}
        # The same order of batches for every task: a prediction does not depend on what is predicted beside it.
        generator = torch.Generator().manual_seed(self.seed)
        pool = _pooled(task.without_queries())
        trail = self._trained(weights, pool, self.test_steps, self.test_batch_size, generator, self._state(copied=True))
        for after, _ in trail:
            weights = after
        return self._outer(weights, task, "predict_features")

    def _trained(
        self,
        weights: Weights,
        pool: Episodes,
        steps: int,
        batch_size: int | None,
        generator: torch.Generator,
        state: tuple[Weights, Tensor],
    ) -> Iterator[tuple[Weights, TrainingLoss]]:
        """The weights after each step on one task, and what its batch gave before it."""
        moments, count = state
        items, found = pool.query.shape[1], []

        def loss(weights: Weights) -> Tensor:
            # As queries without support, a batch is normalised by itself.
            found.append(self._call(weights, "loss_of_features", self._features(weights, batch)))
            return found[-1].total

        gradient = autograd_gradient(False)
        for chosen in _batches(items, batch_size or items, steps, generator):
            chosen = chosen.to(pool.device)
            batch = replace(pool, query=pool.query[:, chosen], query_labels=pool.query_labels[:, chosen])
            slope = gradient(loss, weights)
            with torch.no_grad():
                if self.optimizer == "sgd":
                    weights = {name: w - self.lr * slope[name] for name, w in weights.items()}
                else:
                    count += 1
                    correction = 1 - _DECAY ** int(count)
                    for name, g in slope.items():
                        moments[name].mul_(_DECAY).addcmul_(g, g, value=1 - _DECAY)
                    weights = {
                        name: w - self.lr * slope[name] / ((moments[name] / correction).sqrt() + _EPSILON)
                        for name, w in weights.items()
                    }
            yield weights, found[-1]

    def _state(self, copied: bool) -> tuple[Weights, Tensor]:
        """Adam's second moments and count of steps: the buffers, or copies of them."""
        buffers = [self.get_buffer(buffer) for buffer in self._moments.values()]
        if copied:
            return dict(zip(self._moments, map(torch.clone, buffers), strict=True)), self.steps_taken.clone()
        return dict(zip(self._moments, buffers, strict=True)), self.steps_taken


def _pooled(task: Episodes) -> Episodes:
    """All items of one task as queries, without support."""
    alone = task.without_support()
    items = torch.cat([task.support, task.query], dim=1)
    return replace(alone, query=items, query_labels=torch.cat([task.support_labels, task.query_labels], dim=1))


def _batches(items: int, size: int, count: int, generator: torch.Generator) -> Iterator[Tensor]:
    """So many index sets of `size`, cut one after the other from permutations of the items."""
    queue = torch.empty(0, dtype=torch.int64)
    for _ in range(count):
        while len(queue) < size:
            queue = torch.cat([queue, torch.randperm(items, generator=generator)])
        yield queue[:size]
        queue = queue[size:]
