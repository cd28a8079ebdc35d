import csv
import os
import signal
import subprocess
import sys
import time
from contextvars import copy_context
from functools import partial
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import nn

from fewshot.augment.image_augment import ImageAugment
from fewshot.backbones.conv4 import Conv4
from fewshot.data.image_format import in_format
from fewshot.episodes.protocol import Protocol
from fewshot.errors import FewshotError
from fewshot.evaluation.embedding import embed_bank
from fewshot.evaluation.scoring import evaluate
from fewshot.heads.logistic import LogisticHead
from fewshot.heads.prototype import PrototypeHead
from fewshot.learners.metric_learner import MetricLearner
from fewshot.losses.cross_entropy import CrossEntropy
from fewshot.training import fabric
from fewshot.training.checkpoint import load_weights
from fewshot.training.fabric import Trainer, set_up
from fewshot.training.meta_train import meta_train
from fewshot.training.settings import TrainingSettings
from fewshot.training.training_run import BEST, CHECKPOINT, LAST

CPU = Trainer(accelerator="cpu", threads=1)


def make_learner(seed=0) -> MetricLearner:
    torch.manual_seed(seed)
    return MetricLearner(Conv4(1, width=8, image_size=28), PrototypeHead(learn_temperature=True), CrossEntropy())


def train(bank, folder=None, episodes=40, learner=None, validation=True, training_bank=None, **options):
    learner = learner or make_learner()
    settings = TrainingSettings(
        **({"validate_every": 20, "log_every": 10, "checkpoint_every": 10} | options.pop("settings", {}))
    )
    result = meta_train(
        learner, training_bank or bank, Protocol(5, 1, 5, episodes=episodes), bank if validation else None, Protocol(5, 1, 5, episodes=30),
        settings=settings, trainer=options.pop("trainer", CPU), folder=folder, show_progress=False, **options,
    )  # fmt: skip
    return learner, result


def weights_equal(a, b) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_parts_learn_at_rates_of_their_own(bank):
    def moved(rates):
        start = make_learner()
        learner, _ = train(
            bank, episodes=1, validation=False, settings={"rates": rates},
            optimizer=lambda groups: torch.optim.SGD(groups, lr=1e-3),
        )  # fmt: skip
        pairs = zip(learner.named_parameters(), start.parameters(), strict=True)
        return {name: float((p - q).detach().norm()) for (name, p), q in pairs}

    plain, faster = moved({}), moved({"head": 10, "backbone": 2.0, "backbone.blocks.3": 5.0})
    for name, distance in plain.items():
        factor = 10 if name.startswith("head") else 5 if name.startswith("backbone.blocks.3") else 2
        assert faster[name] == pytest.approx(factor * distance, rel=1e-3, abs=1e-7), name


def test_rates_of_parts_that_are_not_there_are_refused(bank):
    with pytest.raises(FewshotError, match=r"training\.rates names heads, .* expected backbone, head"):
        train(bank, settings={"rates": {"heads": 2.0}})
    with pytest.raises(FewshotError, match=r"training\.rates\.head=0; expected a factor"):
        TrainingSettings(rates={"head": 0})


def test_training_learns(bank_of):
    bank, protocol = bank_of(noise=0.85), Protocol(5, 1, 5, episodes=100)
    learner = make_learner()
    before = evaluate(learner, bank, protocol).accuracy
    learner, result = train(bank, episodes=150, learner=learner, settings={"validate_every": 50})
    assert evaluate(learner, bank, protocol).accuracy > before + 15
    assert result.curve[-1]["loss"] < 0.7 * result.curve[0]["loss"]


def test_the_same_seed_gives_the_same_weights_and_another_one_others(bank):
    first, _ = train(bank)
    second, _ = train(bank)
    assert weights_equal(first, second)
    torch.manual_seed(123)  # the global generator is nobody's input
    learner = make_learner()
    torch.rand(7)
    third, _ = train(bank, learner=learner)
    assert weights_equal(first, third)
    assert not weights_equal(first, train(bank, learner=make_learner(1))[0])


def test_several_tasks_a_step_descend_the_mean_of_their_losses(bank):
    learner, protocol = make_learner().double(), Protocol(5, 1, 5, episodes=3)
    from fewshot.episodes.sampler import EpisodeSampler

    class NoNorm(nn.Module):
        def forward(self, x):
            return x.flatten(1)[:, :50].double()

    learner.backbone = nn.Sequential(NoNorm(), nn.Linear(50, 4, dtype=torch.float64))
    sampler = EpisodeSampler(bank, protocol)
    together = learner.training_loss(sampler.episodes(0, 3)).total
    apart = [learner.training_loss(sampler.episodes(i, 1)).total for i in range(3)]
    torch.testing.assert_close(together, torch.stack(apart).mean())


def test_best_weights_are_those_that_validated_best(bank, tmp_path):
    rates = iter([1e-3] * 20 + [10.0] * 20)  # the second half wrecks what the first one learned
    learner, result = train(bank, tmp_path, schedule=lambda done, total: next(rates) / 1e-3)
    assert result.best_episode == 20
    facts = load_weights(tmp_path / BEST)[1]
    assert facts["episodes"] == 20
    assert facts["val_accuracy"] == result.best_accuracy
    assert load_weights(tmp_path / LAST)[1]["episodes"] == 40
    best = load_weights(tmp_path / BEST)[0]
    assert all(torch.equal(best[k], v) for k, v in learner.state_dict().items())


def test_training_stops_when_validation_no_longer_improves(bank):
    _, result = train(bank, episodes=400, schedule=lambda done, total: 0.0, settings={"patience": 2})
    assert result.episodes == 60
    assert result.best_episode == 20


def test_without_validation_the_last_weights_are_kept(bank, tmp_path):
    learner, result = train(bank, tmp_path, validation=False)
    assert result.best_episode == 40
    assert result.best_accuracy != result.best_accuracy
    best = load_weights(tmp_path / BEST)[0]
    assert all(torch.equal(best[k], v) for k, v in learner.state_dict().items())


def test_the_curve_has_a_row_at_every_multiple_and_the_same_numbers_in_the_file(bank, tmp_path):
    _, result = train(bank, tmp_path)
    assert [row["episodes"] for row in result.curve] == [10, 20, 30, 40]
    assert [row["val_accuracy"] is None for row in result.curve] == [True, False, True, False]
    with open(tmp_path / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["loss"]) for row in rows] == [row["loss"] for row in result.curve]
    assert list((tmp_path / "tensorboard").iterdir())


def test_schedule_and_clipping_reach_the_optimiser(bank):
    still = make_learner()
    before = make_learner()
    train(bank, learner=still, schedule=lambda done, total: 0.0)
    names = [n for n, _ in before.named_parameters()]
    assert all(torch.equal(still.state_dict()[n], before.state_dict()[n]) for n in names)

    class Descent(torch.optim.SGD):
        norms: ClassVar[list[float]] = []

        def step(self, *args):
            self.norms.append(
                torch.stack([p.grad.norm() for g in self.param_groups for p in g["params"]]).norm().item()
            )
            return super().step(*args)

    train(bank, settings={"gradient_clip": 0.01}, optimizer=lambda p: Descent(p, lr=0.1))
    assert max(Descent.norms) < 0.0101


def test_a_loss_that_is_no_number_stops_with_a_clear_line(bank, tmp_path):
    with pytest.raises(FewshotError, match=r"loss is (nan|inf) at episode"):
        train(bank, tmp_path, optimizer=lambda p: torch.optim.SGD(p, lr=1e30))


def test_other_precision_and_layout_learn_the_same_thing(bank):
    _, result = train(bank, trainer=Trainer(accelerator="cpu", threads=1, channels_last=False))
    _, other = train(bank)
    assert other.curve[0]["loss"] == pytest.approx(result.curve[0]["loss"], rel=1e-3)
    _, half = train(bank, trainer=Trainer(accelerator="cpu", threads=1, precision="bf16"))
    assert half.curve[-1]["loss"] == pytest.approx(result.curve[-1]["loss"], rel=0.15)


@pytest.mark.parametrize(
    ("trainer", "word"),
    [
        (Trainer(precision="8"), "precision=8"),
        (Trainer(accelerator="tpu"), "accelerator=tpu"),
        (Trainer(accelerator="cpu", precision="16"), "needs a GPU"),
        (Trainer(accelerator="cpu", precision="tf32"), "needs a GPU of NVIDIA"),
        (Trainer(devices=0), "devices=0"),
    ],
)
def test_a_trainer_that_cannot_be_is_refused(bank, trainer, word):
    with pytest.raises(FewshotError, match=word):
        train(bank, trainer=trainer)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_one_line(bank):
    with pytest.raises(FewshotError, match="no such device is here"):
        train(bank, trainer=Trainer(accelerator="cuda"))


def test_32_bits_are_32_bits_unless_fewer_are_asked_for():
    matrices = torch.get_float32_matmul_precision()
    try:
        set_up(Trainer(precision="tf32"))
        assert torch.backends.cudnn.allow_tf32
    finally:
        set_up(Trainer())
    assert not torch.backends.cudnn.allow_tf32
    assert torch.get_float32_matmul_precision() == matrices


def test_jobs_of_a_sweep_take_turns_at_the_gpus(monkeypatch):
    asked = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(fabric, "Fabric", lambda **options: asked.append((options["accelerator"], options["devices"])))

    def of_job(number):
        fabric.gpu_of_job.set(number)
        fabric.new_fabric(Trainer())

    for number in range(3):
        copy_context().run(of_job, number)
    fabric.new_fabric(Trainer(devices=2))
    assert asked == [("cuda", [0]), ("cuda", [1]), ("cuda", [0]), ("cuda", 2)]
    with pytest.raises(FewshotError, match="devices=3, but 2 GPUs are here"):
        fabric.new_fabric(Trainer(devices=3))


def test_what_cublas_asks_for_before_it_repeats_itself_is_set_unless_the_user_did(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    try:
        set_up(Trainer(deterministic=True))
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"
        del os.environ["CUBLAS_WORKSPACE_CONFIG"]
        set_up(Trainer(deterministic=True))
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    finally:
        torch.use_deterministic_algorithms(False)


def test_a_run_that_stopped_half_way_goes_on_as_if_it_had_not(bank, tmp_path):
    whole, expected = train(bank, tmp_path / "whole", episodes=60)

    class Stop(Exception):
        pass

    def stops(done, total):
        if done == 47:
            raise Stop
        return 1.0

    with pytest.raises(Stop):
        train(bank, tmp_path / "cut", episodes=60, schedule=stops)
    resumed, result = train(bank, tmp_path / "cut", episodes=60, resume=True, learner=make_learner(9))
    assert weights_equal(whole, resumed)
    assert result.curve == expected.curve
    assert (tmp_path / "cut/metrics.csv").read_bytes() == (tmp_path / "whole/metrics.csv").read_bytes()
    with pytest.raises(FewshotError, match="belongs to another protocol"):
        train(bank, tmp_path / "cut", episodes=80, resume=True)


RUN = """
import sys
sys.path.insert(0, {tests!r})
from conftest import make_bank
from test_meta_train import train
print("ready", flush=True)
learner, _ = train(make_bank(), {folder!r}, episodes=300, resume=True, settings=dict(validate_every=30, checkpoint_every=7))
"""


def test_kill_9_at_any_moment_then_resume_gives_bit_identical_weights_and_curve(tmp_path):
    tests = str(Path(__file__).parents[1])

    def start(folder):
        code = RUN.format(tests=tests, folder=str(folder))
        environment = os.environ | {"PYTHONPATH": f"{tests}{os.pathsep}{Path(__file__).parent}"}
        return subprocess.Popen(
            [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    kills = 0
    for after in (0.5, 1.3, 2.1, None):
        with start(tmp_path / "killed") as process:
            process.stdout.readline()
            if after is not None:
                deadline = time.monotonic() + 30
                while not (tmp_path / "killed" / CHECKPOINT).exists() and time.monotonic() < deadline:
                    time.sleep(0.01)
                time.sleep(after)
                kills += process.poll() is None
                process.send_signal(signal.SIGKILL)
            else:
                output = process.stdout.read()
                assert process.wait() == 0, output.decode()
    assert kills >= 2
    with start(tmp_path / "whole") as process:
        output = process.stdout.read()
        assert process.wait() == 0, output.decode()
    for name in ("metrics.csv", BEST, LAST):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_a_checkpoint_of_another_learner_or_optimiser_is_refused(bank, tmp_path):
    train(bank, tmp_path, episodes=20)
    torch.manual_seed(0)
    wide = MetricLearner(Conv4(1, width=16, image_size=28), PrototypeHead(learn_temperature=True), CrossEntropy())
    with pytest.raises(FewshotError, match="belongs to another learner's weights"):
        train(bank, tmp_path, episodes=20, learner=wide, resume=True)
    for optimizer in (partial(torch.optim.Adam, lr=1e-2), partial(torch.optim.SGD, lr=1e-3)):
        with pytest.raises(FewshotError, match="belongs to another optimizer's options"):
            train(bank, tmp_path, episodes=20, optimizer=optimizer, resume=True)


def test_the_callers_own_random_numbers_go_on_as_if_nothing_had_been_trained(bank):
    learner = make_learner()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(bank, episodes=10, learner=learner)
    assert torch.equal(torch.rand(3), expected)


def test_what_only_the_command_does_is_not_left_undone_without_a_word(bank):
    with pytest.raises(FewshotError, match="frozen_backbone: give banks of features"):
        train(bank, settings={"frozen_backbone": True})


def test_a_head_that_passes_no_gradient_on_is_refused(bank):
    torch.manual_seed(0)
    learner = MetricLearner(Conv4(1, width=8, image_size=28), LogisticHead(), CrossEntropy())
    with pytest.raises(FewshotError, match="LogisticHead scores features and passes no gradient on"):
        train(bank, learner=learner)


def test_parts_of_larger_images_are_trained_on_in_the_size_of_the_tests(bank, bank_of):
    larger, cut = bank_of(size=56, seed=3), ImageAugment(crop_scale=(0.2, 1.0), size=28)
    learner, _ = train(bank, episodes=4, validation=True, training_bank=larger, augment=cut)
    assert (learner.image_format.height, learner.image_format.width) == (28, 28)
    # By default the learner hears of the features of whole images, made as small.
    small = in_format(larger, learner.image_format)
    torch.testing.assert_close(learner.base_mean, embed_bank(learner, small).items.mean(0))
    learner, _ = train(bank, episodes=4, training_bank=larger, augment=cut, base_bank=bank)
    torch.testing.assert_close(learner.base_mean, embed_bank(learner, bank).items.mean(0))
    with pytest.raises(FewshotError, match=r"has 56x56 pixels.*is trained on 28x28.*trained_format\(bank, augment\)"):
        train(larger, training_bank=larger, augment=cut)


def test_other_banks_must_have_the_images_form_before_anything_is_trained(bank, bank_of, tmp_path):
    larger, learner = bank_of(size=32, seed=3), make_learner()
    for banks in ({"validation_bank": larger}, {"base_bank": larger}):
        with pytest.raises(FewshotError, match=r"has 32x32 pixels of 1 channel.*the learner is trained on 28x28"):
            meta_train(
                learner, bank, Protocol(5, 1, 3, episodes=4), **banks, folder=tmp_path / "run", show_progress=False
            )
    assert not (tmp_path / "run").exists()
    assert learner.image_format is None, "nothing was trained"


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda loss: loss, "Mine.training_loss returns a Tensor; expected TrainingLoss"),
        (lambda loss: (loss[None], {}, 0.5), r"returns a total of type Tensor\[1\] and parts of type dict"),
        (lambda loss: (loss, None, 0.5), r"returns a total of type Tensor\[\] and parts of type NoneType"),
        (
            lambda loss: (loss, {"each": torch.ones(5)}, 0.5),
            r"training_loss returns each of shape \[5\]; expected a number",
        ),
        (lambda loss: (loss.detach(), {}, 0.5), "training_loss returns a total without a gradient"),
    ],
)
def test_a_learner_of_ones_own_that_returns_something_else_is_one_line(bank, made, words):
    class Mine(MetricLearner):
        def training_loss(self, episodes):
            return made(super().training_loss(episodes).total)

    learner = Mine(Conv4(channels=1, image_size=28, width=4), PrototypeHead(), CrossEntropy())
    with pytest.raises(FewshotError, match=words):
        meta_train(learner, bank, Protocol(5, 1, 3, episodes=2), show_progress=False)


def test_parts_and_accuracy_of_a_learner_of_ones_own_may_be_plain_numbers(bank):
    class Mine(MetricLearner):
        def training_loss(self, episodes):
            total = super().training_loss(episodes).total
            return total, {"share": 0.25, "accuracy": total}, 0.5

    learner = Mine(Conv4(channels=1, image_size=28, width=4), PrototypeHead(), CrossEntropy())
    result = meta_train(learner, bank, Protocol(5, 1, 3, episodes=2), show_progress=False)
    assert (result.curve[-1]["share"], result.curve[-1]["train_accuracy"]) == (0.25, 50)
