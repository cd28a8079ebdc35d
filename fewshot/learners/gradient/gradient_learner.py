"""`GradientLearner`: what learners that take gradient steps on each task share."""

import re
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fewshot.episodes.episodes import Episodes
from fewshot.episodes.protocol import Protocol
from fewshot.errors import FewshotError
from fewshot.heads.feature_transform import Prepared
from fewshot.learners.feature_learner import FeatureLearner
from fewshot.learners.gradient.inner_loop import Weights
from fewshot.learners.gradient.task_norm import embedded_task, task_by_task, task_norms, with_task_norms
from fewshot.learners.learner import Learner
from fewshot.task_augmentation.augmentation import ChangedTasks, TaskAugmentation, TaskChange

NORMS = ("support", "support_plus_one", "transductive", "running")
# A level of the backbone, and the share of the task itself in what is mixed there, `[B]`; None where nothing is mixed.
Mixing = tuple[int, Tensor] | None


class GradientLearner(Learner):
    """A learner of features, some of whose weights are replaced by a task's own, and its BatchNorms.

    A task augmentation of the learner changes the tasks that are trained on, support and queries alike.

    Args:
        learner: backbone, head, and a loss of features.
        norm: BatchNorm by the task's support (`support`), by the support and one query at a time (`support_plus_one`), by
            each set of the task itself (`transductive`), or as usual (`running`), for a backbone that is not adapted.
        adapts: `all`, or names of parts such as `head`, `backbone` or `[backbone.blocks.3, head]`.

    Raises:
        FewshotError: an unknown choice, a learner without a loss of features, a part that there is not, a head that makes
            its weights for each task and is not adapted, or a task augmentation that is more than other items under the same
            labels.
    """

    def __init__(self, learner: FeatureLearner, norm: str, adapts: str | Sequence[str]):
        super().__init__()
        if norm not in NORMS:
            raise FewshotError(f"learner.norm={norm}; expected one of {', '.join(NORMS)}")
        if not isinstance(learner, FeatureLearner) or type(learner).loss_of_features is Learner.loss_of_features:
            raise FewshotError(
                f"learner.learner: {type(learner).__name__} has no loss of features, which {type(self).__name__} adapts by; "
                f"use a MetricLearner"
            )
        self.learner, self.norm = learner, norm
        augmentation = self.task_augmentation
        if augmentation is not None and (not isinstance(augmentation, ChangedTasks) or augmentation.two_labels):
            raise FewshotError(
                f"{type(self).__name__} adapts to tasks of one label an item, and {type(augmentation).__name__} makes others; "
                f"use task_augmentation=mlti or class_rotation, or learner=metric"
            )
        self.adapted = _names(learner, adapts)
        if getattr(learner.head, "makes_weights", False) and "head.weight" not in self.adapted:
            raise FewshotError(
                "learner.adapts leaves out a head whose rows each task makes anew; add head to it, or use head.start=weights"
            )
        self.adapts_backbone = any(name.startswith("backbone.") for name in self.adapted)
        if norm == "running" and self.adapts_backbone:
            raise FewshotError(
                "learner.norm=running goes with a backbone that is not adapted, such as learner.adapts=head; use support, "
                "or transductive"
            )
        if norm != "running":
            with_task_norms(learner.backbone, norm == "transductive")
        self.norms = task_norms(learner)
        self._vectorising, self._places, self._channels_last = False, None, False

    @property
    def backbone(self) -> nn.Module:
        return self.learner.backbone

    @property
    def head(self) -> nn.Module:
        return self.learner.head

    @property
    def loss(self) -> nn.Module | None:
        return getattr(self.learner, "loss", None)

    @property
    def task_augmentation(self) -> TaskAugmentation | None:
        return getattr(self.learner, "task_augmentation", None)

    @property
    def transductive(self) -> bool:
        return self.learner.transductive or (self.norm == "transductive" and bool(self.norms))

    def check_pairs(self, loss: nn.Module | None, protocol: Protocol) -> None:
        """Raise a FewshotError if a loss over pairs would see the support set of a task without a pair of one class."""
        if counts_pairs(loss) and max(protocol.shots) < 2:
            raise FewshotError(
                f"{protocol}: {type(self).__name__} adapts to the support set by a loss over pairs, of which one shot has none of a "
                f"class; use two shots, or loss=cross_entropy"
            )

    def use_head(self, head: nn.Module) -> None:
        """Score with another head from now on, one that has the weights that are adapted."""
        self.learner.use_head(head)

    @property
    def scores_frozen_features(self) -> bool:
        return not self.adapts_backbone and self.norm == "running"

    @property
    def needs_base_mean(self) -> bool:
        return self.learner.needs_base_mean

    def set_base_features(self, features: Float[Tensor, "n d"]) -> None:
        self.learner.set_base_features(features)

    def embed(self, images: Float[Tensor, "n ..."]) -> Float[Tensor, "n d"]:
        return self.learner.embed(images)

    # One task. Its items are images where the backbone is adapted, features where it is not.

    def _outer(self, weights: Weights, task: Episodes, verb: str, mixing: Mixing = None):
        """A verb on the queries of a task, with its weights."""
        by_support = self.norm in ("support", "support_plus_one") and bool(self.norms)
        by_loss = verb == "loss_of_features" and getattr(self.loss, "reads_support", True)
        if not getattr(self.head, "reads_support", True) and not by_support and not by_loss:
            # Neither head nor loss nor normalisation looks at the support any more.
            task = task.without_support()
        return self._call(weights, verb, self._features(weights, task, mixing))

    def _features(self, weights: Weights, task: Episodes, mixing: Mixing = None) -> Episodes:
        if not self.adapts_backbone:
            return task
        if mixing is not None:
            level, share = mixing
            return self._embedded(task, lambda pairs: self._call(weights, "embed_mixed", pairs, level, share[0]))
        return self._embedded(task, lambda images: self._call(weights, "embed", self._laid_out(images)))

    def _embedded(self, task: Episodes, embed: Callable[[Tensor], Tensor]) -> Episodes:
        """Features of one task; its BatchNorms are told which items are the support."""
        if self.norm == "support_plus_one" and self.norms and task.support.shape[1]:
            support = task.support[0]
            alone = embed(support)
            each = [embed(torch.cat([support, query[None]]))[-1:] for query in task.query[0]]
            return task.with_items(alone[None], torch.cat(each or [alone[:0]])[None])
        return embedded_task(task, embed, self.norms)

    def _call(self, weights: Weights, verb: str, *given):
        if self._places is None:
            return torch.func.functional_call(self.learner, weights, (verb, *given), strict=False)
        # The same by hand: on a small network `functional_call` takes a tenth of an inner step to find the places.
        before = {name: self._places[name][name.rpartition(".")[2]] for name in weights}
        try:
            self._put(weights)
            return self.learner(verb, *given)
        finally:
            self._put(before)

    def _put(self, weights: Weights) -> None:
        for name, weight in weights.items():
            self._places[name][name.rpartition(".")[2]] = weight

    def _look(self) -> None:
        """Find out, once for a batch of tasks, where the adapted weights have their places, and the layout."""
        named = list(self.learner.named_parameters(remove_duplicate=False))
        tied = len(named) > len({id(p) for _, p in named})
        self._places = None if tied else {name: _place(self.learner, name) for name in self.adapted}
        self._channels_last = _is_channels_last(self.backbone)

    def _laid_out(self, images: Tensor) -> Tensor:
        """Images of one channel lose their layout where adapted weights have lost theirs, and pooling then takes ten times as long."""
        n, channels, height, width = images.shape
        if channels > 1 or self._vectorising or not images.is_contiguous() or not self._channels_last:
            return images
        return images.as_strided((n, 1, height, width), (height * width, 1, width, 1))

    def _features_of_all(self, episodes: Episodes, change: TaskChange | None = None) -> Episodes:
        """Features of a batch of tasks by the backbone as it is, of changed tasks where a change is given."""
        if change is None:
            return self._embedded_by_tasks(episodes, self.learner.embed)
        return change.features(episodes, self.backbone, self._embedded_by_tasks)

    def _embedded_by_tasks(self, episodes: Episodes, embed: Callable[[Tensor], Tensor]) -> Episodes:
        """BatchNorm of tasks sees them one by one, any other all together."""
        if not self.norms:
            return episodes.map(embed)
        return task_by_task(episodes, lambda task: self._embedded(task, embed))


def _names(learner: FeatureLearner, adapts: str | Sequence[str]) -> list[str]:
    """The weights that are adapted, those that a head makes for each task included."""
    known = [name for name, p in learner.named_parameters() if p.requires_grad]
    if getattr(learner.head, "makes_weights", False):
        known += [f"head.{name}" for name in ("weight", "bias") if f"head.{name}" not in known]
    if adapts == "all":
        return [name for name in known if not name.startswith("loss.")]
    parts = [adapts] if isinstance(adapts, str) else list(adapts or ())
    if not parts:
        raise FewshotError("learner.adapts names nothing; use learner.steps=0 for no adaptation, or all")
    if isinstance(learner.head, Prepared):
        # Named as without a preparation of features, which has no weights.
        parts = [re.sub(r"^head\.(?!head\.)", "head.head.", part) for part in parts]
    for part in parts:
        if not any(f"{name}.".startswith(f"{part}.") for name in known):
            tops = sorted({name.partition(".")[0] for name in known})
            raise FewshotError(f"learner.adapts={part}, of which there are no weights; expected all, {', '.join(tops)}")
    return [name for name in known if any(f"{name}.".startswith(f"{part}.") for part in parts)]


def _place(module: nn.Module, name: str) -> dict[str, Tensor]:
    """The dictionary that holds a weight, or a buffer that stands for one."""
    path, _, own = name.rpartition(".")
    part = module.get_submodule(path)
    return part._parameters if own in part._parameters else part._buffers


def _is_channels_last(module: nn.Module) -> bool:
    maps = [p for p in module.parameters() if p.dim() == 4 and p.shape[1] > 1 and p[0, 0].numel() > 1]
    return bool(maps) and all(p.is_contiguous(memory_format=torch.channels_last) for p in maps)


def counts_pairs(loss: nn.Module | None) -> bool:
    """Whether a loss, or a term of it, looks at which pairs of items there are, which differ from task to task."""
    return loss is not None and any(getattr(part, "counts_pairs", False) for part in loss.modules())
