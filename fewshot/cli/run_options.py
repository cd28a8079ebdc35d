"""What a configuration asks for, read and checked before anything is opened."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from omegaconf import DictConfig

from fewshot.augment.pixels import Augment
from fewshot.cli import recipe, recipe_checks
from fewshot.cli.outcome import check_skips
from fewshot.cli.run_folder import check_can_append
from fewshot.cli.side_information import make_semantics
from fewshot.cli.typed import typed
from fewshot.data.catalog import made_dataset
from fewshot.data.dataset import DataSet
from fewshot.episodes.protocol import Protocol
from fewshot.episodes.views import ViewProtocol
from fewshot.errors import FewshotError
from fewshot.instantiation import make
from fewshot.training.fabric import Trainer
from fewshot.training.settings import ClassificationSettings, TrainingSettings


@dataclass(frozen=True)
class Options:
    """The parts of a run that need no images.

    Args:
        protocols: `train`, `val` and `test`.
        classifies: whether a classifier is trained, on images instead of episodes.
        settings: of the training.
        trainer: device, precision and processes.
        optimizer: makes one of parameters.
        schedule: of the learning rate.
        augment: of training images, or None.
        dataset: where banks come from.
        semantics: side information of classes, or None.
    """

    protocols: dict[str, Protocol | ViewProtocol]
    classifies: bool
    settings: TrainingSettings | ClassificationSettings
    trainer: Trainer
    optimizer: Callable
    schedule: Callable
    augment: Augment | None
    dataset: DataSet
    semantics: object | None

    def of_images(self, images: int, seed: int) -> "Options":
        """The same for a classifier of so many images: its protocol, and settings as the training loop counts."""
        train = self.settings.protocol(images, seed)
        return replace(
            self, protocols={**self.protocols, "train": train}, settings=self.settings.counted_in_images(images)
        )

    def check_steps(self, processes: int) -> None:
        """Raise a FewshotError unless the steps of training share what there is evenly."""
        self.settings.check_steps(self.protocols["train"].episodes, processes)


def read_options(config: DictConfig) -> Options:
    """All options of a run.

    Raises:
        FewshotError: one that cannot be used.
    """
    recipe_checks.check_finite(config)
    recipe_checks.check_parts(config)
    recipe_checks.check_seed(config.seed)
    check_skips(config)
    if not isinstance(config.get("diagnostics", False), bool):
        raise FewshotError(f"diagnostics={config.diagnostics}; expected true or false")
    protocols = {part: recipe.make_protocol(config, part) for part in ("train", "test", "val")}
    classifies = recipe.trains_on_images(config)
    if classifies and protocols["train"].pool is not None:
        raise FewshotError(
            f"episodes.train.pool={protocols['train'].pool}; this learner is trained on images, not on episodes; leave it out"
        )
    options = Options(
        protocols=protocols,
        classifies=classifies,
        settings=typed(ClassificationSettings if classifies else TrainingSettings, config.training, "training"),
        trainer=typed(Trainer, config.trainer, "trainer"),
        optimizer=recipe.make_optimizer(config),
        schedule=make(config.schedule, "schedule"),
        augment=make(config.augment, "augment"),
        dataset=made_dataset(config.data),
        semantics=make_semantics(config),
    )
    if config.leaderboard:
        check_can_append(config.leaderboard)
    return options
