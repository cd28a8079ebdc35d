"""A command line that tests a checkpoint may name the keys of what was trained, not only those of the defaults."""

from collections.abc import Sequence

_MODES = ("mode=test", "mode=tune", "mode=generalised")


def with_keys_of_checkpoint(arguments: Sequence[str]) -> list[str]:
    """`arguments` for Hydra, with `++` before each key that the checkpoint's configuration has.

    `fewshot mode=test checkpoint=MAML learner.test_steps=10` is composed with the default learner, which has no such key;
    what is then taken from the checkpoint has it. A checkpoint that cannot be read is left for the run to complain about.
    """
    paths = [text.partition("=")[2].strip("'\"") for text in arguments if text.startswith("checkpoint=")]
    keys = {text: text.partition("=")[0] for text in arguments if text[:1] not in "+~-"}
    # What is chosen anew has keys of its own.
    dotted = [text for text, key in keys.items() if "." in key and key.partition(".")[0] not in keys.values()]
    if not paths or not dotted or not any(text in _MODES for text in arguments):
        return list(arguments)
    # Reading a checkpoint needs torch, and help does not.
    from fewshot.errors import FewshotError
    from fewshot.training.checkpoint import load_facts

    try:
        config = load_facts(paths[-1]).get("config", {})
    except FewshotError:
        return list(arguments)
    return [f"++{text}" if text in dotted and _has(config, keys[text]) else text for text in arguments]


def _has(config: object, key: str) -> bool:
    for part in key.split("."):
        if not isinstance(config, dict) or part not in config:
            return False
        config = config[part]
    return True
