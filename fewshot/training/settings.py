"""How the meta-training loop runs."""

from dataclasses import dataclass

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

    Raises:
        FewshotError: a count out of range.
    """

    tasks_per_step: int = 1
    validate_every: int = 1000
    patience: int | None = None
    checkpoint_every: int = 1000
    log_every: int = 100
    gradient_clip: float | None = None

    def __post_init__(self):
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
