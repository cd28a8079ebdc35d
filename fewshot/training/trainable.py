"""Whether a learner can be trained by episodes of a protocol."""

from fewshot.episodes.protocol import Protocol
from fewshot.errors import FewshotError
from fewshot.heads.feature_transform import bare
from fewshot.learners.learner import Learner
from fewshot.losses.cross_entropy import CrossEntropy
from fewshot.losses.mean_squared_error import MeanSquaredError
from fewshot.losses.proxies import ProxyLoss


def check_trainable(learner: Learner, protocol: Protocol, tasks: int) -> None:
    """Raise a FewshotError if steps of so many tasks of a protocol cannot train this learner's backbone through its head."""
    head, loss = getattr(learner, "head", None), getattr(learner, "loss", None)
    if loss is None or head is None:
        return
    new_tasks = getattr(learner, "task_augmentation", None)
    if new_tasks is not None:
        new_tasks.check(learner.backbone, tasks)
        if not new_tasks.keeps_classes and any(isinstance(part, ProxyLoss) for part in loss.modules()):
            raise FewshotError(
                f"{type(new_tasks).__name__} makes classes that are no base classes, of which this loss has proxies; use "
                f"another loss, or task_augmentation=none"
            )
        if not new_tasks.keeps_classes and learner.reads_attributes:
            raise FewshotError(
                f"{type(new_tasks).__name__} makes classes that are no base classes, and this learner compares images with what is "
                f"known of those; use task_augmentation=none"
            )
        if new_tasks.pairs_classes and getattr(protocol, "dirichlet", None) is not None:
            raise FewshotError(
                f"{type(new_tasks).__name__} pairs the items of classes, and with episodes.train.dirichlet={protocol.dirichlet:g} "
                f"some classes have no queries; use episodes.train.dirichlet=null"
            )
    if learner.needs_base_mean:
        raise FewshotError(
            "cl2n features need the mean of the base classes, which episodic training does not know before its end; use l2n, "
            "or learner=classifier"
        )
    if not any(p.requires_grad for p in learner.parameters()):
        # Nothing is to be trained, as of a head that is fitted to the base classes.
        return
    of_scores = any(isinstance(part, CrossEntropy | MeanSquaredError) for part in loss.modules())
    if of_scores and not getattr(head, "trains_backbone", True):
        name = type(bare(head)).__name__
        raise FewshotError(
            f"{name} scores features and passes no gradient on, so a loss of its scores trains no backbone; use "
            f"learner=classifier, another loss, or another head and heads=[...] for the test"
        )
