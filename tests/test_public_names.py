"""What `import fewshot` gives."""

import os
import subprocess
import sys

import pytest

import fewshot

CODE = """
import sys, fewshot
assert not {'torch', 'matplotlib', 'pandas'} & set(sys.modules), 'import fewshot waits for them'
for name in ('Bank', 'EpisodeSampler', 'Protocol', 'open_dataset'):
    getattr(fewshot, name)
assert not {'scipy', 'joblib', 'sklearn'} & set(sys.modules), 'what few need is imported before it is needed'
for name in ('Leaderboard', 'draw_episode', 'draw_embedding', 'draw_class', 'compare'):
    getattr(fewshot, name)
assert 'matplotlib' not in sys.modules, 'drawing is imported before anything is drawn'
import fewshot.cli.run
assert not {'torchvision', 'torchmetrics'} & set(sys.modules), 'Fabric does without them'
import torchmetrics
from lightning_fabric.utilities import spike
assert spike._TORCHMETRICS_GREATER_EQUAL_1_0_0, 'Fabric finds them when it needs them'
"""


@pytest.mark.parametrize("name", fewshot.__all__)
def test_every_name_is_there(name):
    assert name in dir(fewshot)
    assert getattr(fewshot, name).__doc__ if name != "__version__" else fewshot.__version__


def test_what_is_not_there_is_said():
    with pytest.raises(AttributeError, match="has no attribute 'Banc'"):
        fewshot.Banc  # noqa: B018


def test_nothing_is_imported_before_it_is_needed():
    found = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, "5000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, "None")],
)
def test_threads_give_way_unless_the_user_says_how_they_wait(given, expected):
    own = {key: value for key, value in os.environ.items() if key not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    code = "import os, fewshot; print(os.environ.get('GOMP_SPINCOUNT'))"
    found = subprocess.run([sys.executable, "-c", code], env=own | given, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == expected
