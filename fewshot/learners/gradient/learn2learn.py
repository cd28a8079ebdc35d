"""`Learn2Learn`: an algorithm of learn2learn, trained and scored as any learner here."""

import contextlib
import importlib
import io
from types import ModuleType

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fewshot.episodes.episodes import Episodes
from fewshot.episodes.support_split import split_support
from fewshot.errors import FewshotError
from fewshot.learners.gradient.inner_loop import carrying, check_inner_gradients
from fewshot.learners.gradient.task_norm import TaskNorm, embedded_task, task_by_task, task_norms, with_task_norms
from fewshot.learners.learner import Learner, TrainingLoss
from fewshot.losses.loss_value import as_loss_value

NORMS = ("support", "transductive", "running")
ALGORITHMS = ("maml", "meta_sgd", "gbml", "anil")
TRANSFORMS = ("meta_curvature", "kronecker")


def learn2learn() -> ModuleType:
    """The package, imported when it is first asked for.

    Raises:
        FewshotError: it is not installed, or cannot be imported.
    """
    try:
        # gym, which it imports and nothing here uses, prints that it is no longer maintained.
        with contextlib.redirect_stderr(io.StringIO()):
            return importlib.import_module("learn2learn")
    except ImportError as error:
        raise FewshotError(
            f"learn2learn cannot be imported ({error}); install it by pip install --no-deps -r requirements/learn2learn.txt "
            f"in a checkout"
        ) from error


class Learn2Learn(Learner):
    """Adapts by `clone()` and `adapt()` of learn2learn; everything around them is ours.

    The loss of a step is that of the support items, the loss of training that of the queries after the last step, both means.
    With `maml`, `meta_sgd` and `gbml` the whole network is cloned and adapted, with `anil` the head alone, on features of a
    backbone that stays. Tasks go one after the other and are differentiated at once, so memory is that of one task.

    learn2learn leaves BatchNorm as it is; its examples keep networks in training mode, in tests too, so that queries are
    normalised by each other. That is `norm=transductive` here, and a row says so.

    Args:
        backbone: images `[n, c, h, w]` to features `[n, d]`.
        head: with weights of its own for each class, such as `LinearHead`.
        loss: episodes of features and logits to a scalar, or to a `LossValue`.
        algorithm: `maml`, `meta_sgd`, `gbml` or `anil`.
        steps: in training.
        test_steps: in tests; None is as many as in training.
        lr: of the steps; with `meta_sgd` where the learned rates start.
        first_order: leave out how a step's gradient depends on the weights.
        norm: BatchNorm by the task's support (`support`), by each set of the task itself (`transductive`), or as usual
            (`running`, for `anil`).
        transform: of gradients in `gbml`, learned: `meta_curvature` or `kronecker`.

    Raises:
        FewshotError: learn2learn is not installed, an unknown choice, a number out of range, or a head without weights for
            each class.

    Source: Arnold et al., learn2learn: A Library for Meta-Learning Research, 2020, and the papers of the algorithms: Finn et
    al. 2017, Li et al. 2017 (Meta-SGD), Raghu et al. 2020 (ANIL), Park and Oliva 2019 (Meta-Curvature).
    """

    def __init__(
        self,
        backbone: nn.Module,
        head: nn.Module,
        loss: nn.Module,
        algorithm: str = "maml",
        steps: int = 1,
        test_steps: int | None = None,
        lr: float = 0.5,
        first_order: bool = False,
        norm: str = "support",
        transform: str = "meta_curvature",
    ):
        super().__init__()
        for name, value, known in (
            ("algorithm", algorithm, ALGORITHMS),
            ("norm", norm, NORMS),
            ("transform", transform, TRANSFORMS),
        ):
            if value not in known:
                raise FewshotError(f"learner.{name}={value}; expected one of {', '.join(known)}")
        test_steps = steps if test_steps is None else test_steps
        for name, value in {"steps": steps, "test_steps": test_steps, "lr": lr}.items():
            if value < 0:
                raise FewshotError(f"learner.{name}={value}; expected at least 0")
        if getattr(head, "reads_support", True) or getattr(head, "makes_weights", False):
            raise FewshotError(
                f"learn2learn adapts weights that a head has for each class, which {type(head).__name__} has not; use head=linear"
            )
        self.adapts_backbone = algorithm != "anil"
        if norm == "running" and self.adapts_backbone:
            raise FewshotError(
                "learner.norm=running goes with learner.algorithm=anil; use support, or transductive as learn2learn's examples"
            )
        self.steps, self.test_steps, self.first_order, self.norm = steps, test_steps, first_order, norm
        if norm != "running":
            with_task_norms(backbone, norm == "transductive")
        self.loss = loss
        network = _Network(backbone if self.adapts_backbone else None, head)
        self.algorithm = _wrapped(network, algorithm, lr, first_order, transform)
        # A backbone that stays is no part of what learn2learn clones.
        self.body = None if self.adapts_backbone else backbone

    @property
    def backbone(self) -> nn.Module:
        return self.algorithm.module.backbone if self.body is None else self.body

    @property
    def head(self) -> nn.Module:
        return self.algorithm.module.head

    @property
    def norms(self) -> list[TaskNorm]:
        return task_norms(self.backbone)

    @property
    def transductive(self) -> bool:
        return self.norm == "transductive" and bool(self.norms)

    @property
    def scores_frozen_features(self) -> bool:
        return not self.adapts_backbone and self.norm == "running"

    def embed(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        return self.backbone(images)

    def check_training(self, compiled: bool, precision: str) -> None:
        if self.steps:
            check_inner_gradients(
                type(self).__name__, self.adapts_backbone and not self.first_order, compiled, precision
            )

    def training_loss(self, episodes: Episodes) -> TrainingLoss:
        features = None if self.adapts_backbone else self._features_of_all(episodes)
        trained = [p for p in self.parameters() if p.requires_grad]
        gradients = dict.fromkeys(trained, 0)
        total, right, parts = 0, 0, {}
        reads_support = getattr(self.loss, "reads_support", True)
        for task in (episodes if features is None else features).split(1):
            seen, logits = self._adapted(task, self.steps, self.first_order, reads_support)
            value, named = as_loss_value(self.loss(seen, logits), self.loss)
            if torch.is_grad_enabled() and features is None:
                slopes = torch.autograd.grad(value / len(episodes), trained, allow_unused=True, materialize_grads=True)
                gradients = {p: gradients[p] + slope for p, slope in zip(trained, slopes, strict=True)}
                value = value.detach()
            total = total + value / len(episodes)
            parts = {name: parts.get(name, 0) + part / len(episodes) for name, part in named.items()}
            right = right + (logits.detach().argmax(-1) == seen.query_labels).float().mean() / len(episodes)
        if torch.is_grad_enabled() and features is None:
            total = carrying(total, gradients)
        return TrainingLoss(total, parts, right)

    def predict(self, episodes: Episodes) -> Float[Tensor, "b q n"]:
        return self.predict_features(episodes if self.adapts_backbone else self._features_of_all(episodes))

    def predict_features(self, episodes: Episodes) -> Float[Tensor, "b q n"]:
        with torch.enable_grad():
            # The values of a step are the same in first order, at less memory.
            return torch.cat([self._adapted(task, self.test_steps, True)[1].detach() for task in episodes.split(1)])

    def _adapted(
        self, task: Episodes, steps: int, first_order: bool, with_support: bool = False
    ) -> tuple[Episodes, Tensor]:
        """Features and logits of the queries of one task after the steps. Where the backbone stays its items are features."""
        clone = self.algorithm.clone()
        inner = split_support(task, "items")
        for _ in range(steps):
            clone.adapt(as_loss_value(self.loss(*clone(inner)), self.loss).total, first_order=first_order)
        by_support = self.adapts_backbone and self.norm == "support" and self.norms
        return clone(task if by_support or with_support else task.without_support())

    def _features_of_all(self, episodes: Episodes) -> Episodes:
        """By the backbone as it is; BatchNorm of tasks sees them one by one."""
        norms = self.norms
        if not norms:
            return episodes.map(self.backbone)
        return task_by_task(episodes, lambda task: embedded_task(task, self.backbone, norms))


class _Network(nn.Module):
    """What is cloned: one task to its features and the logits of its queries."""

    def __init__(self, backbone: nn.Module | None, head: nn.Module):
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, task: Episodes) -> tuple[Episodes, Tensor]:
        if self.backbone is not None:
            task = embedded_task(task, self.backbone, task_norms(self.backbone))
        return task, self.head(task)


def _wrapped(network: nn.Module, algorithm: str, lr: float, first_order: bool, transform: str) -> nn.Module:
    library = learn2learn()
    if algorithm == "meta_sgd":
        return library.algorithms.MetaSGD(network, lr=lr, first_order=first_order)
    if algorithm == "gbml":
        made = {
            "meta_curvature": library.optim.MetaCurvatureTransform,
            "kronecker": library.optim.KroneckerTransform(library.nn.KroneckerLinear),
        }
        return library.algorithms.GBML(network, transform=made[transform], lr=lr, first_order=first_order)
    return library.algorithms.MAML(network, lr=lr, first_order=first_order)
