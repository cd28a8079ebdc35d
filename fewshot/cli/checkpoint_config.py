"""The configuration that a file of weights keeps, and a test takes from it."""

from collections.abc import Iterable

from omegaconf import DictConfig, OmegaConf

from fewshot.errors import FewshotError

# What a test takes from the checkpoint alone: typed anew it would put words into the row that are not true.
_OF_TRAINING = (
    "seed",
    "loss",
    "optimizer",
    "schedule",
    "training",
    "augment",
    "data.train",
    "task_augmentation",
    "data.base_classes",
    "data.training_pipeline",
    "episodes.train",
    "episodes.val",
    "classifier",
    "pooling",
    "init",
    "held_out",
    # Of learners that take gradient steps; a test has `learner.test_steps`.
    *("learner.steps", "learner.first_order", "learner.multi_step", "learner.batch_size"),
)
# What a test takes from its command line alone.
_OF_THE_COMMAND = (
    *("mode", "checkpoint", "resume", "output", "leaderboard", "trainer", "heads", "unbalanced", "tune"),
    *("diagnostics", "generalised", "skip_existing"),
)


def without_command(config: DictConfig) -> dict:
    """What a file of weights keeps of a configuration, as plain JSON.

    Interpolations stay as they are: where data lies is for the machine that tests to say.
    """
    return {key: value for key, value in OmegaConf.to_container(config).items() if key not in _OF_THE_COMMAND}


def replaced_head(overrides: Iterable[str]) -> bool:
    """Whether a test's command line names another head than the checkpoint's."""
    return any(text.lstrip("+").partition("=")[0].partition("@")[0] == "head" for text in overrides)


def with_checkpoint(config: DictConfig, stored: dict, overrides: Iterable[str]) -> DictConfig:
    """The configuration of a test: that of the checkpoint, with what the command line gives on top.

    Args:
        config: composed of the command line.
        stored: the configuration that the checkpoint carries, interpolations unresolved.
        overrides: the command line's overrides, `key=value` each.
    """
    typed_keys = [text.lstrip("+~").partition("=")[0].partition("@")[0] for text in overrides]
    # Tuning plays the episodes of validation, and may play others than training did.
    fixed = [part for part in _OF_TRAINING if not (config.mode == "tune" and part == "episodes.val")]
    for key in typed_keys:
        if any(key == part or key.startswith(f"{part}.") for part in fixed):
            raise FewshotError(
                f"{key} belongs to training: mode={config.mode} takes it from the checkpoint; leave it out"
            )
    rates = (stored.get("learner") or {}).get("rates", "fixed")
    if "learner.lr" in typed_keys and rates != "fixed":
        raise FewshotError(
            f"learner.lr is where training began to learn rates (learner.rates={rates}), and a test has what it learned; leave it out"
        )
    merged = OmegaConf.create(stored)
    for key in _OF_THE_COMMAND:
        merged[key] = config[key]
    if "experiment" in typed_keys:
        # A recipe says on what to test; the learner stays the one that was trained.
        merged.data, merged.episodes = config.data, config.episodes
    # Whole groups first, so that `head=x head.y=1` changes the head that was chosen.
    for key in sorted(typed_keys, key=lambda key: key.count(".")):
        OmegaConf.update(merged, key, OmegaConf.select(config, key), merge=False, force_add=True)
    return merged
