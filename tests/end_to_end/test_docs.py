"""The docs name every choice of every part, and only those there are; their commands are made of keys that exist."""

import re
import shlex
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from fewshot.resources import conf_folder

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {path.relative_to(DOCS): path.read_text(encoding="utf-8") for path in DOCS.rglob("*.md")}
TABLE = {line.split("|")[1].strip(): line for line in PAGES[Path("index.md")].splitlines() if line.startswith("| ")}


@pytest.mark.parametrize("part", ["head", "loss", "learner", "backbone", "pooling", "augment", "task_augmentation"])
def test_the_overview_names_every_choice(part):
    rows = [TABLE["head"], TABLE["transductive head"], TABLE["head of attributes"]] if part == "head" else [TABLE[part]]
    named = set(re.findall(r"`(\w+)`", " ".join(rows)))
    there = {path.stem for path in (conf_folder() / part).glob("*.yaml")}
    assert there <= named
    assert named - there <= {path.stem for path in (conf_folder() / "classifier").glob("*.yaml")}


def commands():
    for page, text in PAGES.items():
        for block in re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                if words and words[0] == "fewshot":
                    yield pytest.param(words[1:], id=f"{page}: {' '.join(words)}"[:90])


def first_value(word: str) -> str:
    """One job's word of a sweep's."""
    override = OverridesParser.create().parse_override(word)
    if not override.is_sweep_override():
        return word
    values = override.sweep_string_iterator() if override.is_discrete_sweep() else [override.value().start]
    return f"{override.get_key_element()}={next(iter(values))}"


def of_what_was_trained(word: str) -> str:
    """A key of a checkpoint's configuration may be that of any choice of its group."""
    group, _, key = word.partition("=")[0].partition(".")
    known = [OmegaConf.load(path) for path in (conf_folder() / group).glob("*.yaml")]
    return f"++{word}" if key and any(key in config for config in known) else word


@pytest.mark.parametrize("words", commands())
def test_every_command_is_made_of_keys_and_choices_that_exist(words):
    words = [first_value(word) if "-m" in words else word for word in words if word != "-m"]
    if any(word.startswith("checkpoint=") for word in words):
        words = [of_what_was_trained(word) for word in words]
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        compose("config", overrides=words)
