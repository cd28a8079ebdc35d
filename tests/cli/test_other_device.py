"""The same numbers on another device: nothing stays on the CPU that has to be beside the weights.

There is no GPU where these tests run. A device of our own does what the CPU does and refuses, as a GPU would, tensors of two devices in
one operation; it shows what a GPU would refuse, not how fast or how exact one is.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils import backend_registration

from .conftest import SMALL
from .other_device.pretend import build

ROOT = Path(__file__).parents[2]
# Small steps: what rounding changes stays too small to be seen.
GIVEN = [
    *(option for option in SMALL if not option.startswith(("experiment", "trainer.accelerator"))),
    "optimizer.lr=1e-6", "leaderboard=null", "unbalanced=null",
    "episodes.val.episodes=4", "episodes.val.query=3", "episodes.test.episodes=10",
]  # fmt: skip
EPISODES = ["episodes.train.episodes=4", "training.validate_every=2", "training.log_every=2"]
TWO_TASKS = [*EPISODES, "training.tasks_per_step=2"]
CLASSIFIER = ["learner=classifier", "training.epochs=1", "training.batch_size=8", "training.validate_every=1"]
HEADS = (
    "heads=[own,soft_kmeans,label_propagation,tim,{head: alpha_tim, alpha: 2},pt_map,prototype_adaptation,ridge,logistic,matching,"
    "{head: laplacian_shot, features: l2n},{head: slk, features: l2n},{head: bd_cspn, features: l2n},{head: finetune, epochs: 2},"
    "{head: prototune, epochs: 1},{head: nearest_centroid, transform: l2n}]"
)
LOSSES = [
    "cross_entropy", "mean_squared_error", "proto_triplet", "icnn", "batch_hard", "contrastive", "multi_similarity", "nca", "supcon", "alignment",
    "uniformity", "metrix",
]  # fmt: skip
RUNS = {
    "heads": [*EPISODES, HEADS],
    "losses": [
        *EPISODES,
        "episodes.train.shot=2",
        "loss=sum",
        f"loss.terms={{{', '.join(f'{name}: 1' for name in LOSSES)}}}",
    ],
    "proxies": [*EPISODES, "loss=soft_triple", "head.distance=mahalanobis"],
    "augmentation": [*EPISODES, "augment=strong"],
    "relation": [*EPISODES, "head=relation", "backbone.poolings=2"],
    "feat": [*EPISODES, "head=feat", "head.dropout=0"],
    "pixels": [*EPISODES, "backbone=pixels"],
    "mlti": [*TWO_TASKS, "task_augmentation=mlti"],
    "interval bounds": [*TWO_TASKS, "task_augmentation=interval_bounds"],
    "MAML, one by one": [
        *EPISODES,
        "learner=maml",
        "learner.tasks=loop",
        "learner.steps=2",
        "learner.norm=transductive",
    ],
    "MAML, vectorised": [*TWO_TASKS, "learner=maml", "learner.tasks=vmap", "learner.steps=2"],
    "ANIL": [*TWO_TASKS, "learner=anil", "learner.steps=2"],
    "Proto-MAML": [*EPISODES, "learner=proto_maml", "learner.steps=2", "learner.rates=per_layer"],
    "Reptile": [*EPISODES, "learner=reptile", "learner.steps=2", "learner.test_steps=2"],
    "ProtoCLR": [*EPISODES, "learner=protoclr", "augment=views_drawings"],
    "FILM": [*EPISODES, "learner=film", "semantics=text_ngrams", "learner.test_steps=2"],
    "classifier": [*CLASSIFIER, "head=nearest_centroid", "diagnostics=true"],
    "hybrid consistency": [*CLASSIFIER, "learner=hybrid_consistency", "augment=crop_flip"],
}


TOO_LARGE = ("in Python", "augmentation", "MAML, one by one", "classifier")


@pytest.fixture(scope="module")
def outcomes(images, tmp_path_factory):
    if shutil.which("c++") is None:
        pytest.skip("no C++ compiler")
    if not hasattr(backend_registration, "_DummyDeviceGuard"):
        pytest.skip("this torch has no devices made in Python")
    if torch.accelerator.is_available():
        pytest.skip("there is a GPU")
    folder = tmp_path_factory.mktemp("other")
    (folder / "images").symlink_to(images)
    build(folder / "device.so")
    runs = {
        name: [option for option in GIVEN if not (name == "pixels" and "backbone" in option)] + more
        for name, more in RUNS.items()
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.cli.other_device.run_all", str(folder / "device.so"), *TOO_LARGE],
        cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, input=json.dumps(runs), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", [*RUNS, "in Python", *(f"{name}, banks too large" for name in TOO_LARGE)])
def test_it_does_there_what_it_does_on_the_cpu(outcomes, name):
    on_cpu, elsewhere = outcomes[name]
    assert isinstance(on_cpu, list), on_cpu
    assert isinstance(elsewhere, list), elsewhere
    assert elsewhere == pytest.approx(on_cpu, rel=1e-3)
