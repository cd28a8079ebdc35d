"""How the meta-training loop runs."""

from dataclasses import dataclass

from fewshot.episodes.images import ImageProtocol
from fewshot.errors import FewshotError


@dataclass(frozen=True)
class TrainingSettings:
    """All counts are of episodes.

    Args:
        tasks_per_step: tasks whose mean loss makes one optimiser step, over all processes.
        validate_every: episodes between validations; 0 never validates.
        patience: validations without a better one before training stops; null never stops early.
        checkpoint_every: episodes between checkpoints; there is one at each validation too.
        log_every: episodes per row of the training curve.
        gradient_clip: largest gradient norm; null does not clip.
        rates: factors on the learning rate of some parts, such as `{head: 10}`; the longest name counts. null for none.
        frozen_backbone: train the rest on features of the backbone as it is; each image is embedded once.

    Raises:
        FewshotError: a count out of range, or a factor that is not positive.
    """

    tasks_per_step: int = 1
    validate_every: int = 1000
    patience: int | None = None
    checkpoint_every: int = 1000
    log_every: int = 100
    gradient_clip: float | None = None
    rates: dict[str, float] | None = None
    frozen_backbone: bool = False

    def __post_init__(self):
        for name, factor in (self.rates or {}).items():
            if isinstance(factor, bool) or not isinstance(factor, int | float) or not factor > 0:
                raise FewshotError(f"training.rates.{name}={factor!r}; expected a factor of more than 0")
        for name, least in (("tasks_per_step", 1), ("validate_every", 0), ("checkpoint_every", 1), ("log_every", 1)):
            if getattr(self, name) < least:
                raise FewshotError(f"training.{name}={getattr(self, name)}; expected at least {least}")
        if self.patience is not None and self.patience < 1:
            raise FewshotError(f"training.patience={self.patience}; expected at least 1, or null")
        if self.gradient_clip is not None and not self.gradient_clip > 0:
            raise FewshotError(f"training.gradient_clip={self.gradient_clip}; expected more than 0, or null")

    def check_steps(self, episodes: int, devices: int) -> None:
        """Raise a FewshotError unless steps share `episodes` evenly, and devices share each step."""
        tasks = self.tasks_per_step
        if tasks % devices:
            raise FewshotError(f"training.tasks_per_step={tasks} for {devices} devices; use a multiple of {devices}")
        if episodes % tasks:
            raise FewshotError(
                f"episodes={episodes} of training is no multiple of training.tasks_per_step={tasks}; use one that is"
            )


@dataclass(frozen=True)
class ClassificationSettings:
    """How a classifier is trained: counts are of epochs, each of which shows every base image once.

    Args:
        epochs: in all.
        batch_size: images that make one optimiser step, over all processes.
        validate_every: epochs between validations; 0 never validates and keeps the last weights.
        patience: validations without a better one before training stops; null never stops early.
        gradient_clip: largest gradient norm; null does not clip.

    Raises:
        FewshotError: a count out of range.
    """

    epochs: int = 90
    batch_size: int = 256
    validate_every: int = 4
    patience: int | None = None
    gradient_clip: float | None = None

    def __post_init__(self):
        for name, least in (("epochs", 1), ("batch_size", 1), ("validate_every", 0)):
            if getattr(self, name) < least:
                raise FewshotError(f"training.{name}={getattr(self, name)}; expected at least {least}")

    def protocol(self, images: int, seed: int) -> ImageProtocol:
        """The training of a bank of so many images; what is left of the last batch is not shown."""
        steps = self.epochs * images // self.batch_size
        if steps == 0:
            raise FewshotError(
                f"training.batch_size={self.batch_size} for {images} images in {self.epochs} epochs; use a smaller one"
            )
        return ImageProtocol(steps * self.batch_size, seed)

    def counted_in_images(self, images: int) -> TrainingSettings:
        """The same settings as the training loop counts."""
        return TrainingSettings(
            tasks_per_step=self.batch_size,
            validate_every=self.validate_every * images,
            patience=self.patience,
            checkpoint_every=images,
            log_every=max(self.batch_size, images // 4),
            gradient_clip=self.gradient_clip,
        )
