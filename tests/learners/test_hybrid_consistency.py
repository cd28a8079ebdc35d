"""Hybrid Consistency Training: its limits, and what flows where."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from fewshot.augment.image_augment import ImageAugment
from fewshot.backbones.conv4 import Conv4
from fewshot.classifiers.cosine import CosineClassifier
from fewshot.episodes.images import ImageProtocol, ImageSampler
from fewshot.errors import FewshotError
from fewshot.heads.prototype import PrototypeHead
from fewshot.learners.classifier import ClassifierLearner
from fewshot.learners.hybrid_consistency import HybridConsistencyLearner, consistency_loss, interpolation_loss
from fewshot.training.meta_train import meta_train
from fewshot.training.settings import ClassificationSettings

CHANGE = ImageAugment(shift=3, flip=True, brightness=0.5)


def parts():
    torch.manual_seed(0)
    return Conv4(1, 8, image_size=28), PrototypeHead(), CosineClassifier(8, 12)


class Fixed(HybridConsistencyLearner):
    """With a level, a share and partners of one's choice."""

    choice: tuple

    def drawn(self, images):
        return self.choice


def learner(level=1, share=0.3, partners=None, strong=CHANGE, **options):
    made = Fixed(*parts(), strong, (0.2,), (0.7,), **options).eval()
    made.choice = (level, share, torch.arange(10).roll(3) if partners is None else partners)
    return made


def batch_of(bank):
    return ImageSampler(bank.replacing(mean=(0.2,), std=(0.7,)), ImageProtocol(100)).episodes(0, 10)


def strong_views(made, batch):
    """The strongly augmented images that the next loss of `made` will see."""
    torch.manual_seed(7)
    seen = made._strengthened(batch.query[0])
    torch.manual_seed(7)
    return seen


def test_without_its_terms_it_is_the_classifier_bit_for_bit(bank):
    settings = ClassificationSettings(epochs=2, batch_size=32, validate_every=0)

    def trained(made):
        meta_train(
            made,
            bank,
            settings.protocol(len(bank), 0),
            settings=settings.counted_in_images(len(bank)),
            augment=ImageAugment(shift=1),
            show_progress=False,
        )
        return made.state_dict()

    plain = trained(ClassifierLearner(*parts(), label_smoothing=0.1))
    other = trained(
        HybridConsistencyLearner(
            *parts(), CHANGE, bank.mean, bank.std, interpolation=0.0, consistency=0.0, label_smoothing=0.1
        )
    )
    for name, value in plain.items():
        assert torch.equal(value, other[name]) or value.isnan().all(), name


@pytest.mark.parametrize("level", [0, 1, 3])
def test_the_ends_of_the_interpolation_are_the_images_and_the_changed_partners(bank, level):
    batch = batch_of(bank)
    labels = batch.query_labels[0]
    whole = learner(level, share=1.0)
    images = whole.classifier(whole.backbone(batch.query[0]))
    torch.testing.assert_close(whole.training_loss(batch).parts["interpolation"], cross_entropy(images, labels))
    none = learner(level, share=0.0)
    changed = none.classifier(none.backbone(strong_views(none, batch)))
    partners = none.choice[2]
    expected = cross_entropy(changed[partners], labels[partners])
    torch.testing.assert_close(none.training_loss(batch).parts["interpolation"], expected)


def test_between_its_ends_maps_of_the_level_are_mixed(bank):
    batch, made = batch_of(bank), learner(level=2, share=0.3)
    labels, partners = batch.query_labels[0], made.choice[2]
    strong = strong_views(made, batch)
    half = torch.nn.Sequential(*made.backbone.blocks[:2])
    rest = torch.nn.Sequential(*made.backbone.blocks[2:])
    mixed = rest(0.3 * half(batch.query[0]) + 0.7 * half(strong)[partners]).flatten(1)
    logs = made.classifier(mixed).log_softmax(1)
    rows = torch.arange(10)
    expected = -(0.3 * logs[rows, labels] + 0.7 * logs[rows, labels[partners]]).mean()
    found = made.training_loss(batch)
    torch.testing.assert_close(found.parts["interpolation"], expected)
    torch.testing.assert_close(found.total, sum(found.parts.values()))


def test_where_nothing_is_changed_and_everyone_is_his_own_partner_nothing_is_added(bank):
    batch, made = batch_of(bank), learner(partners=torch.arange(10), strong=ImageAugment())
    found = made.training_loss(batch)
    torch.testing.assert_close(found.parts["interpolation"], found.parts["cross_entropy"], rtol=1e-4, atol=1e-5)
    assert float(found.parts["consistency"]) == pytest.approx(0, abs=1e-6)


def test_weights_weigh_the_terms(bank):
    batch = batch_of(bank)
    torch.manual_seed(7)
    found = learner(interpolation=0.5, consistency=3.0).training_loss(batch)
    parts = found.parts
    torch.testing.assert_close(
        found.total, parts["cross_entropy"] + 0.5 * parts["interpolation"] + 3 * parts["consistency"]
    )
    for off, left in (("interpolation", "consistency"), ("consistency", "interpolation")):
        torch.manual_seed(7)
        one = learner(**{off: 0.0}).training_loss(batch)
        assert set(one.parts) == {"cross_entropy", left}
        # In eval mode BatchNorm does not see which kinds of images are there.
        torch.testing.assert_close(one.parts[left], parts[left])


def test_divergence_is_positive_and_moves_only_the_changed_image():
    torch.manual_seed(0)
    weak, strong = torch.randn(2, 6, 4, dtype=torch.float64).unbind(0)
    weak, strong = weak.clone().requires_grad_(), strong.clone().requires_grad_()
    loss = consistency_loss(weak, strong)
    p, q = weak.softmax(1), strong.softmax(1)
    torch.testing.assert_close(loss, (p * (p / q).log()).sum(1).mean())
    assert loss > 0
    loss.backward()
    assert weak.grad is None
    assert strong.grad.abs().max() > 0
    # Colder targets are surer: at temperature 0 or so the target is the first choice alone.
    cold = consistency_loss(weak, strong, temperature=1e-4)
    torch.testing.assert_close(cold, cross_entropy(strong, weak.argmax(1)))


def test_interpolation_is_linear_in_its_share():
    torch.manual_seed(0)
    logits, labels, others = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 0, 1]), torch.tensor([1, 1, 0, 2, 3, 3])
    ends = [interpolation_loss(logits, labels, others, share, 0.1) for share in (0.0, 1.0)]
    torch.testing.assert_close(interpolation_loss(logits, labels, others, 0.25, 0.1), 0.75 * ends[0] + 0.25 * ends[1])
    torch.testing.assert_close(interpolation_loss(logits, others, labels, 0.75, 0.1), 0.75 * ends[0] + 0.25 * ends[1])


def test_levels_and_shares_are_drawn_from_all_there_are():
    made = HybridConsistencyLearner(*parts(), CHANGE, (0.0,), (1.0,), beta=2.0)
    torch.manual_seed(0)
    levels, shares, partners = zip(*(made.drawn(5) for _ in range(2000)), strict=True)
    assert torch.bincount(torch.tensor(levels)).tolist() == pytest.approx([500] * 4, abs=5 * 500**0.5)
    shares = torch.tensor(shares)
    # Beta(2, 2) has mean 1/2 and variance 1/20.
    assert abs(shares.mean() - 0.5) < 0.025
    assert abs(shares.var() - 0.05) < 0.01
    assert all(sorted(order.tolist()) == [0, 1, 2, 3, 4] for order in partners)


def test_the_consistency_grows_with_the_images_that_were_seen(bank):
    batch, made = batch_of(bank), learner(warmup=40, consistency=2.0).train()
    weights = []
    for _ in range(6):
        found = made.training_loss(batch)
        rest = found.total - found.parts["cross_entropy"] - found.parts["interpolation"]
        weights.append(float(rest.detach() / found.parts["consistency"]))
    assert weights == pytest.approx([0.0, 0.5, 1.0, 1.5, 2.0, 2.0], abs=1e-4)
    assert int(made.state_dict()["images_trained"]) == 60


def test_a_strong_augmentation_that_makes_another_size_is_refused():
    with pytest.raises(FewshotError, match=r"learner\.strong\.size=16; expected null"):
        learner(strong=ImageAugment(crop_scale=(0.5, 1.0), size=16))


@pytest.mark.parametrize(
    "options",
    [
        {"interpolation": -1.0},
        {"consistency": -1.0},
        {"warmup": -1},
        {"temperature": 0.0},
        {"beta": 0.0},
        {"levels": 5},
    ],
)
def test_numbers_out_of_range_are_refused(options):
    (name,) = options
    with pytest.raises(FewshotError, match=rf"learner\.{name}="):
        learner(**options)


def test_a_backbone_without_blocks_mixes_images(bank):
    class Plain(torch.nn.Module):
        feature_size = 784

        def forward(self, images):
            return images.flatten(1)

    made = HybridConsistencyLearner(Plain(), PrototypeHead(), CosineClassifier(784, 12), CHANGE, (0.0,), (1.0,))
    assert made.levels == 0
    assert made.training_loss(batch_of(bank)).total.isfinite()
