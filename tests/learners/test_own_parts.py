"""Backbones and losses of a user's own are tried out before a training."""

import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy, cross_entropy, one_hot

from fewshot import FewshotError, LossValue, MetricLearner, Protocol, PrototypeHead, TrainingLoss, meta_train
from fewshot.augment.image_augment import ImageAugment
from fewshot.backbones.conv4 import Conv4
from fewshot.backbones.pixels import Pixels
from fewshot.learners.classifier import ClassifierLearner
from fewshot.learners.own_parts import check_own_parts
from fewshot.losses.cross_entropy import CrossEntropy
from fewshot.losses.weighted_sum import WeightedSum

PROTOCOL = Protocol(5, 1, 3, episodes=2)


class Says(nn.Module):
    """A loss that is what a function makes of logits and labels."""

    def __init__(self, made):
        super().__init__()
        self.made = made

    def forward(self, episodes, logits):
        return self.made(logits.flatten(0, 1), episodes.query_labels.flatten())


class Net(nn.Module):
    """A backbone that says and makes numbers of features of one's choice."""

    def __init__(self, says=4, makes=4):
        super().__init__()
        self.feature_size, self.makes = says, makes
        self.norm, self.last = nn.BatchNorm2d(1), nn.Linear(28 * 28, makes)

    def forward(self, images):
        return self.last(self.norm(images).flatten(1))


def learner_of(loss=None, backbone=None):
    return MetricLearner(backbone or Net(), PrototypeHead(), loss or CrossEntropy())


def test_a_loss_may_return_a_scalar(bank):
    results = []
    for loss in (Says(cross_entropy), CrossEntropy(), WeightedSum({"one": Says(cross_entropy)})):
        torch.manual_seed(0)
        learner = learner_of(loss)
        results.append(meta_train(learner, bank, PROTOCOL, show_progress=False).curve)
    scalar, usual, summed = results
    assert scalar[-1]["loss"] == usual[-1]["loss"] == summed[-1]["loss"]
    assert scalar[-1]["Says"] == summed[-1]["Says"] == usual[-1]["cross_entropy"]


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda logits, labels: cross_entropy(logits, labels, reduction="none"), r"returns a tensor of shape \[30\]"),
        (lambda logits, labels: cross_entropy(logits, labels).item(), "returns a float; expected a scalar tensor"),
        (lambda logits, labels: (logits.mean(), {}, 1), "returns a tuple; expected a scalar tensor, or LossValue"),
        (lambda logits, labels: (logits.mean(), [1.0]), "returns parts of type list; expected scalars by name"),
        (lambda logits, labels: logits.mean().detach(), "gives a total without a gradient"),
        (lambda logits, labels: LossValue(logits.mean(0), {}), r"returns a tensor of shape \[5\]"),
        (lambda logits, labels: logits @ logits, r"fails on two tasks of random features, test_own_parts\.py line \d+: RuntimeError: "),
    ],
)  # fmt: skip
def test_a_loss_that_cannot_be_minimised_is_one_line(bank, tmp_path, made, words):
    with pytest.raises(FewshotError, match=f"loss: Says .*{words}"):
        meta_train(learner_of(Says(made)), bank, PROTOCOL, folder=tmp_path / "run", show_progress=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("learner", [MetricLearner, ClassifierLearner])
def test_a_backbone_that_makes_other_features_than_it_says_is_one_line(bank, learner):
    rest = (PrototypeHead(), CrossEntropy() if learner is MetricLearner else nn.Linear(4, 12))
    with pytest.raises(
        FewshotError, match=r"backbone: Net makes \[2, 4\] of images \[2, 1, 28, 28\]; expected \[2, 5\]"
    ):
        check_own_parts(learner(Net(says=5), *rest), bank, PROTOCOL)
    small = bank.replacing(items=bank.items[..., :14, :14], _known_fingerprint=None)
    with pytest.raises(FewshotError, match=r"backbone: Net fails on images \[2, 1, 14, 14\], test_own_parts\.py line"):
        check_own_parts(learner(Net(), *rest), small, PROTOCOL)


class Remembers(nn.Module):
    """A loss with a buffer, which counts its calls."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, episodes, logits):
        self.calls += 1
        return cross_entropy(logits.flatten(0, 1), episodes.query_labels.flatten()), {"share": 0.5}


def test_trying_out_changes_nothing(bank):
    learner = learner_of(Remembers()).train()
    learner.backbone.norm.eval()
    before, drawn = {name: v.clone() for name, v in learner.state_dict().items()}, torch.random.get_rng_state()
    check_own_parts(learner, bank, PROTOCOL)
    modes = [part.training for part in (learner, learner.head, learner.loss, learner.backbone, learner.backbone.norm)]
    assert modes == [True, True, True, True, False]
    assert torch.equal(torch.random.get_rng_state(), drawn)
    assert all(torch.equal(v, before[name]) for name, v in learner.state_dict().items() if name != "base_mean")
    assert all(p.grad is None for p in learner.parameters())
    result = meta_train(learner, bank, PROTOCOL, show_progress=False)
    assert learner.loss.calls == 2, "once for each step"
    assert result.curve[-1]["share"] == 0.5


def test_learners_of_ones_own_may_use_their_parts_in_their_own_way(bank):
    class TwoThings(Net):
        def forward(self, images):
            return super().forward(images), images.mean()

        def train(self, mode=True):
            # As many freeze a BatchNorm, without a return.
            super().train(mode)
            self.norm.eval()

    class Weighs(MetricLearner):
        def embed(self, images):
            return self.backbone(images)[0]

        def loss_of_features(self, features):
            return TrainingLoss(self.loss(features, self.head(features), 2.0), {}, torch.tensor(0.0))

    class Weighted(nn.Module):
        def forward(self, episodes, logits, weight):
            return weight * cross_entropy(logits.flatten(0, 1), episodes.query_labels.flatten())

    meta_train(Weighs(TwoThings(), PrototypeHead(), Weighted()), bank, PROTOCOL, show_progress=False)
    plain = TwoThings()
    plain.forward = lambda images: Net.forward(plain, images)
    check_own_parts(learner_of(backbone=plain), bank, PROTOCOL)


@pytest.mark.parametrize(
    ("augment", "words"),
    [
        (lambda images, generator: images[:-1], r"\[1, 1, 28, 28\] of images \[2, 1, 28, 28\]; expected as many"),
        (lambda images, generator: images.double(), r"torch.float64 \[2, 1, 28, 28\] of images"),
        (lambda images, generator: images.numpy(), "makes a ndarray of images"),
        (lambda images, generator: 255 * images, r"makes pixels of up to 25\d; expected 0 to 1"),
        (lambda images: images, r"<lambda> fails on images \[2, 1, 28, 28\] and a generator: TypeError"),
    ],
)
def test_an_augmentation_that_makes_other_images_is_one_line(bank, augment, words):
    with pytest.raises(FewshotError, match=f"augment: .*{words}"):
        meta_train(learner_of(), bank, PROTOCOL, augment=augment, show_progress=False)


def test_an_augmentation_that_makes_another_size_says_so_and_keeps_its_word(bank):
    class Cut:
        # Of what it cuts, not of what it makes.
        size = 4

        def __call__(self, images, generator):
            return images[..., :16, :16]

    learner = learner_of(backbone=Conv4(channels=1, image_size=28, width=4))
    meta_train(learner, bank, PROTOCOL, augment=Cut(), show_progress=False)
    assert learner.image_format.height == 28, "a size that is not told is taken for that of the images"
    telling = Cut()
    telling.makes_size = 16
    meta_train(learner, bank, PROTOCOL, augment=telling, show_progress=False)
    assert learner.image_format.height == learner.image_format.width == 16
    telling.makes_size = 20
    with pytest.raises(FewshotError, match=r"Cut makes images \[2, 1, 16, 16\]; its makes_size=20 promises 20x20"):
        meta_train(learner, bank, PROTOCOL, augment=telling, show_progress=False)


def test_a_backbone_of_ones_own_is_tried_with_images_of_the_size_that_training_makes(bank_of):
    # It takes 28x28 alone.
    cut = ImageAugment(crop_scale=(0.3, 1.0), size=28)
    meta_train(learner_of(), bank_of(size=56, seed=1), PROTOCOL, augment=cut, show_progress=False)


def test_noise_and_crops_are_augmentations(bank):
    class Noise:
        calls = 0

        def __call__(self, images, generator):
            self.calls += 1
            return (images + 2 * torch.randn(images.shape, generator=generator))[..., :16, :16]

    augment = Noise()
    learner = learner_of(backbone=Conv4(channels=1, image_size=28, width=4))
    meta_train(learner, bank, PROTOCOL, augment=augment, show_progress=False)
    assert augment.calls == 2, "once for each step"


def test_a_loss_may_rest_on_what_its_head_makes(bank):
    class Probabilities(PrototypeHead):
        def forward(self, episodes):
            scores = super().forward(episodes).sigmoid()
            self.last = scores.detach()
            return scores

    class Reads(nn.Module):
        def __init__(self, head):
            super().__init__()
            self.head = head

        def forward(self, episodes, logits):
            assert torch.equal(self.head.last, logits)
            return binary_cross_entropy(logits, one_hot(episodes.query_labels, 5).float())

    head = Probabilities()
    meta_train(MetricLearner(Net(), head, Reads(head)), bank, PROTOCOL, show_progress=False)


def test_what_a_head_does_wrong_is_not_said_of_the_loss(bank):
    class Fails(PrototypeHead):
        def forward(self, episodes):
            raise RuntimeError("no")

    with pytest.raises(FewshotError, match="head: Fails fails on two tasks"):
        check_own_parts(MetricLearner(Net(), Fails(), Says(cross_entropy)), bank, PROTOCOL)


@pytest.mark.parametrize(
    "device", [pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]
)
def test_parts_are_tried_out_where_the_learner_is(bank, device):
    learner = learner_of(Remembers()).to(device)
    check_own_parts(
        learner, bank, PROTOCOL, lambda images, g: images + torch.rand(images.shape, generator=g, device=images.device)
    )


def test_features_need_no_backbone(bank):
    features = bank.with_features(bank.items.flatten(1).float())
    check_own_parts(learner_of(backbone=Net(says=784, makes=3)), features, PROTOCOL)
    check_own_parts(learner_of(backbone=Pixels(1, 28)), bank, PROTOCOL)
