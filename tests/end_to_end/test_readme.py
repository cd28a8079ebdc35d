"""What the README tells people to type."""

import re
import shlex
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir

from fewshot.resources import conf_folder

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def test_the_notebook_cell_runs(tmp_path, monkeypatch):
    (cell,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    monkeypatch.setenv("FEWSHOT_DATA", str(tmp_path))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    scope = {}
    exec(re.sub(r"episodes=\d+", "episodes=30", cell), scope)  # the same cell with fewer episodes
    torch.set_num_threads(threads)
    frame = scope["found"].to_frame()
    assert len(frame) == 1
    assert frame.data[0] == "glyphs"
    assert frame.accuracy[0] == pytest.approx(100 * scope["found"].accuracies.mean())
    assert scope["result"].episodes == 30


COMMANDS = [shlex.split(line.split("#")[0]) for line in README.splitlines() if line.startswith("fewshot ")]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_is_made_of_keys_and_choices_that_exist(words):
    overrides = [word for word in words[1:] if word != "-m"]
    overrides = [word.replace("seed=0,1,2", "seed=0") for word in overrides]
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        compose("config", overrides=overrides)


def test_there_are_commands_to_check():
    assert len(COMMANDS) >= 6
