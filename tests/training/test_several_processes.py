"""Two processes on a CPU do what one does: the same episodes, gradients, validation and tests; they fail together."""

import os
import signal
import time

import numpy as np
import pytest
import torch
from torch import nn

from fewshot.augment.image_augment import ImageAugment
from fewshot.backbones.conv4 import Conv4
from fewshot.classifiers.cosine import CosineClassifier
from fewshot.data.glyphs import Glyphs
from fewshot.device import processes
from fewshot.episodes.images import ImageProtocol, ImageSampler
from fewshot.episodes.protocol import Protocol
from fewshot.errors import FewshotError
from fewshot.evaluation.scoring import evaluate
from fewshot.heads.linear import LinearHead
from fewshot.heads.nearest_centroid import NearestCentroidHead
from fewshot.heads.prototype import PrototypeHead
from fewshot.heads.ridge import RidgeHead
from fewshot.learners.classifier import ClassifierLearner
from fewshot.learners.gradient.maml import MAML
from fewshot.learners.hybrid_consistency import HybridConsistencyLearner
from fewshot.learners.metric_learner import MetricLearner
from fewshot.losses.cross_entropy import CrossEntropy
from fewshot.shared_work import own_share, put_together, rank
from fewshot.training.fabric import Trainer, make_fabric
from fewshot.training.launched import in_processes
from fewshot.training.meta_train import meta_train
from fewshot.training.settings import TrainingSettings

TWO = Trainer(accelerator="cpu", devices=2, threads=1)
ONE = Trainer(accelerator="cpu", threads=1)


class Wide(Conv4):
    """In 64 bits after `double()`, where no maximum of a pooling changes places by rounding, which would change a gradient by more than that."""

    def forward(self, x):
        return super().forward(x.to(self.blocks[0][0].weight.dtype))


def metric(head) -> MetricLearner:
    return MetricLearner(Wide(1, width=8, image_size=28), head, CrossEntropy())


def classifier(bank) -> ClassifierLearner:
    from fewshot.classifiers.linear import LinearClassifier

    backbone = Wide(1, width=8, image_size=28)
    return ClassifierLearner(
        backbone,
        NearestCentroidHead("cl2n", feature_size=backbone.feature_size),
        LinearClassifier(backbone.feature_size, bank.num_classes),
    )


LEARNERS = {
    "prototypes, BatchNorm over the step": lambda bank: metric(PrototypeHead(learn_temperature=True)),
    "ridge, BatchNorm over the step": lambda bank: metric(RidgeHead(learn_regularisation=True)),
    "ANIL, BatchNorm over the step": lambda bank: MAML(
        metric(LinearHead(feature_size=8, way=5)), adapts="head", norm="running", steps=2, lr=0.1
    ),
    "MAML, BatchNorm of each task": lambda bank: MAML(metric(LinearHead(feature_size=8, way=5)), steps=2, lr=0.1),
    "classifier": classifier,
}


def everything(fabric, glyphs) -> dict:
    """What trainings and tests found, by learner, in one process or in each of several."""
    found = {}
    for name, make in LEARNERS.items():
        torch.manual_seed(0)
        learner = make(glyphs).double()
        slopes = {}

        class Slopes(torch.optim.SGD):
            def step(self, *args, learner=learner, slopes=slopes):
                named = [(n, p) for n, p in learner.named_parameters() if p.requires_grad]
                slopes.setdefault(
                    "first", {n: torch.zeros_like(p) if p.grad is None else p.grad.clone() for n, p in named}
                )
                return super().step(*args)

        trains_on_images = learner.trains_on_images
        result = meta_train(
            learner, glyphs, ImageProtocol(96, 3) if trains_on_images else Protocol(5, 1, 3, episodes=12, seed=3),
            glyphs, Protocol(5, 1, 3, episodes=30, seed=4), optimizer=lambda groups, kind=Slopes: kind(groups, lr=0.02),
            settings=TrainingSettings(tasks_per_step=32 if trains_on_images else 4, validate_every=4, log_every=4),
            fabric=fabric, show_progress=False,
        )  # fmt: skip
        found[name] = {
            "slopes": {n: g.numpy() for n, g in slopes["first"].items()},
            "weights": {n: v.numpy() for n, v in learner.state_dict().items()},
            "curve": result.curve,
        }
    torch.manual_seed(1)
    untrained, protocol = metric(PrototypeHead()), Protocol(5, 1, 3, episodes=41, seed=5)
    tested = evaluate(untrained, glyphs, protocol, tasks_per_batch=4, shared=True)
    found["test"] = np.stack([tested.accuracies, tested.macro_accuracies])
    found["hash"] = tested.episodes_sha256
    found["processes"] = processes()
    return found


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("glyphs")
    glyphs = Glyphs(root=folder / "raw", prepared=folder / "prepared", hands=6).bank("train")
    threads = torch.get_num_threads()
    one = everything(make_fabric(ONE), glyphs)
    torch.set_num_threads(threads)
    return one, in_processes(TWO, everything, glyphs)


@pytest.mark.parametrize("name", LEARNERS)
def test_first_gradients_are_those_of_one_process(both, name):
    one, two = (found[name]["slopes"] for found in both)
    assert both[1]["processes"] == 2
    whole = np.sqrt(sum((g**2).sum() for g in one.values()))
    assert whole > 0.01
    for part, slope in one.items():
        assert np.abs(slope - two[part]).max() < 1e-5 * whole, part


@pytest.mark.parametrize("name", LEARNERS)
def test_trainings_end_with_the_same_weights_and_curve(both, name):
    one, two = (found[name] for found in both)
    assert one["weights"].keys() == two["weights"].keys()
    for part, value in one["weights"].items():
        np.testing.assert_allclose(two["weights"][part], value, rtol=1e-5, atol=1e-7, err_msg=part)
    assert [row["episodes"] for row in one["curve"]] == [row["episodes"] for row in two["curve"]]
    for mine, other in zip(one["curve"], two["curve"], strict=True):
        assert mine["loss"] == pytest.approx(other["loss"], rel=1e-6)
        assert mine["val_accuracy"] == other["val_accuracy"]


def test_a_shared_test_has_the_accuracies_of_one_process_to_the_last_bit(both):
    one, two = both
    assert one["hash"] == two["hash"]
    assert np.array_equal(one["test"], two["test"])
    assert len(np.unique(one["test"])) > 3


def of_ranks(fabric):
    values = torch.zeros(3)
    for number, value in own_share([1.0, 2.0, 3.0]):
        values[number] = value
    few = torch.zeros(1)
    for _, value in own_share([5.0]):
        few += value
    # More than a pipe holds comes back too.
    return put_together(values).tolist(), put_together(few).tolist(), processes(), torch.arange(10**6)


def test_shares_are_all_batches_once():
    *shares, large = in_processes(TWO, of_ranks)
    assert shares == [[1.0, 2.0, 3.0], [5.0], 2]
    assert torch.equal(large, torch.arange(10**6))


def mixed_levels(fabric, glyphs):
    """What each of the processes draws where all are seeded differently, and the images that it then counts."""
    torch.manual_seed(rank())
    backbone = Conv4(1, 8, image_size=28)
    strong = ImageAugment(shift=3)
    learner = HybridConsistencyLearner(
        backbone, PrototypeHead(), CosineClassifier(8, glyphs.num_classes), strong, (0.2,), (0.7,)
    ).train()
    own = torch.zeros(processes(), 12)
    own[rank()] = torch.tensor([float(learner.drawn(4)[0]) for _ in range(12)])
    learner.training_loss(ImageSampler(glyphs, ImageProtocol(16)).episodes(0, 8))
    return put_together(own), int(learner.images_trained)


def test_processes_mix_at_one_level_and_count_the_images_of_all(tmp_path):
    glyphs = Glyphs(root=tmp_path / "raw", prepared=tmp_path / "prepared", hands=6).bank("train")
    levels, images = in_processes(TWO, mixed_levels, glyphs)
    assert torch.equal(levels[0], levels[1])
    assert len(levels.unique()) > 1
    assert images == 16


def fails(fabric, how):
    if rank() == 1:
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        raise FewshotError("no room left on the disk") if how == "said" else ValueError("a mistake")
    fabric.barrier()
    time.sleep(600)


@pytest.mark.parametrize(
    ("how", "kind", "words"),
    [
        ("said", FewshotError, "^no room left on the disk$"),
        ("killed", FewshotError, "process 1 of 2 was ended by SIGKILL"),
        ("mistake", RuntimeError, "process 1: ValueError: a mistake"),
    ],
)
def test_when_one_fails_no_other_waits_for_it(how, kind, words):
    with pytest.raises(kind, match=words):
        in_processes(TWO, fails, how)


def test_norms_of_tasks_are_left_alone():
    from fewshot.training.shared_batch_norm import SharedBatchNorm2d, share_batch_norms

    learner = MAML(metric(LinearHead(feature_size=8, way=5)))
    share_batch_norms(learner)
    assert not any(isinstance(part, SharedBatchNorm2d) for part in learner.modules())
    plain = metric(PrototypeHead())
    images = torch.rand(4, 1, 28, 28)
    before = plain.train().embed(images)
    share_batch_norms(plain)
    assert sum(isinstance(part, SharedBatchNorm2d) for part in plain.modules()) == 4
    assert torch.equal(plain.embed(images), before), "alone it is BatchNorm"
    assert isinstance(plain.backbone, nn.Module)
