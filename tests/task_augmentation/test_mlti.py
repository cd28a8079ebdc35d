"""MLTI: limits of lambda, symmetry, prototypes of a linear encoder, boxes, and a reference item by item."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fewshot.backbones.pixels import Pixels
from fewshot.episodes.episodes import Episodes
from fewshot.episodes.prototypes import prototypes
from fewshot.errors import FewshotError
from fewshot.heads.linear import LinearHead
from fewshot.learners.gradient.maml import MAML
from fewshot.learners.gradient.reptile import Reptile
from fewshot.learners.metric_learner import MetricLearner
from fewshot.losses.cross_entropy import CrossEntropy
from fewshot.task_augmentation.augmentation import fresh_rng
from fewshot.task_augmentation.mixing import draw_boxes
from fewshot.task_augmentation.mlti import MLTI

from .conftest import Linear, conv4, gradients, learner_of, rng, tasks


class Fixed(MLTI):
    """MLTI with a share of its own."""

    def __init__(self, share, **options):
        super().__init__(**options)
        self.fixed = share

    def draw(self, episodes, generator):
        drawn = super().draw(episodes, generator)
        return replace(drawn, share=torch.full_like(drawn.share, self.fixed))


@pytest.mark.parametrize("level", [0, 1, 2, 3, 4])
def test_a_share_of_one_is_the_plain_learner_to_the_bit(level):
    episodes = tasks()
    plain = gradients(learner_of(), episodes)
    mixed = gradients(learner_of(Fixed(1.0, levels=[level], input="linear", cross=1.0)), episodes)
    assert torch.equal(plain[0].total, mixed[0].total)
    assert torch.equal(plain[0].accuracy, mixed[0].accuracy)
    for part in (1, 2):
        for name, value in plain[part].items():
            assert torch.equal(value, mixed[part][name]) or bool(value.isnan().all()), name


@pytest.mark.parametrize("level", [0, 2])
def test_a_share_of_zero_is_the_next_task_with_its_classes_permuted(level):
    episodes = tasks()
    mlti = Fixed(0.0, levels=[level], input="linear", cross=1.0)
    learner = learner_of(mlti).eval()
    torch.manual_seed(1)
    drawn = mlti.draw(episodes, fresh_rng())
    changed = drawn.features(episodes, learner.backbone)
    plain = episodes.map(learner.backbone)
    for b in range(3):
        other = (b + 1) % 3
        slots = {}
        for i, label in enumerate(episodes.query_labels[b].tolist()):
            (j,) = torch.isclose(plain.query[other], changed.query[b, i]).all(-1).nonzero().flatten().tolist()
            slots.setdefault(label, set()).add(int(episodes.query_labels[other, j]))
        # Class n is one class pi(n) of the other task, in the support too.
        assert all(len(found) == 1 for found in slots.values())
        assert {next(iter(found)) for found in slots.values()} == set(range(4))
        for i, label in enumerate(episodes.support_labels[b].tolist()):
            (j,) = torch.isclose(plain.support[other], changed.support[b, i]).all(-1).nonzero().flatten().tolist()
            assert int(episodes.support_labels[other, j]) in slots[label]


def test_the_mixture_is_that_of_a_plain_loop():
    episodes, mlti = tasks(count=4), MLTI(input="linear", cross=0.5)
    drawn = mlti.draw(episodes, rng(3))
    mixed = drawn.items(episodes)
    assert {int(t) - b for b, t in enumerate(drawn.task)} >= {0, 1}, "both branches occur"
    for b in range(4):
        j, share = int(drawn.task[b]), float(drawn.share[b])
        assert j in (b, (b + 1) % 4)
        pi = {}
        for which in ("support", "query"):
            own, labels = getattr(episodes, which)[b], getattr(episodes, f"{which}_labels")[b]
            others, other_labels = getattr(episodes, which)[j], getattr(episodes, f"{which}_labels")[j]
            places = getattr(drawn, which)[b]
            for i in range(len(own)):
                k = int((labels[:i] == labels[i]).sum())
                slot = pi.setdefault(int(labels[i]), int(other_labels[places[i]]))
                partner = (other_labels == slot).nonzero().flatten()[k]
                expected = share * own[i] + (1 - share) * others[partner]
                torch.testing.assert_close(getattr(mixed, which)[b, i], expected)
        # The same permutation for support and queries.
        assert sorted(pi.values()) == list(range(4))
    assert torch.equal(mixed.query_labels, episodes.query_labels)


def test_mixing_is_symmetric():
    """Task i with share lambda and partner j is task j with share 1 - lambda and partner i, classes renamed."""
    episodes = tasks(count=2, shuffled=False)
    mlti = MLTI(input="linear", cross=1.0)
    drawn = replace(mlti.draw(episodes, rng()), share=torch.tensor([0.3, 0.7]))
    # The second task is paired back by the inverse permutation.
    back = {name: getattr(drawn, name).clone() for name in ("support", "query")}
    for index in back.values():
        index[1] = index[0].argsort()
    mixed = replace(drawn, **back).items(episodes)
    torch.testing.assert_close(mixed.query[0], mixed.query[1][drawn.query[0]])
    torch.testing.assert_close(mixed.support[0], mixed.support[1][drawn.support[0]])


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_prototypes_of_a_linear_encoder_are_mixtures_of_prototypes(level):
    episodes, backbone = tasks(), Linear().double()
    drawn = MLTI(levels=[level], input="linear", cross=1.0).draw(episodes, rng())
    found = drawn.features(episodes, backbone)
    plain = episodes.map(backbone)
    p = prototypes(plain.support, plain.support_labels, 4)
    slots = episodes.support_labels[drawn.task].gather(1, drawn.support)[:, ::2]
    other = p[drawn.task].gather(1, slots[..., None].expand(-1, -1, p.shape[-1]))
    share = drawn.share[:, None, None].double()
    expected = share * p + (1 - share) * other
    torch.testing.assert_close(prototypes(found.support, found.support_labels, 4), expected)


def test_a_task_mixed_with_itself_unpermuted_stays_as_it_is():
    episodes = tasks()
    shared = MLTI(labels="shared", cross=0.0, input="linear")
    mixed = shared.draw(episodes, rng()).items(episodes)
    torch.testing.assert_close(mixed.query, episodes.query)
    pasted = MLTI(labels="shared", cross=0.0).draw(episodes, rng()).items(episodes)
    assert torch.equal(pasted.support, episodes.support)


def test_shared_labels_mix_items_of_one_base_class():
    episodes = tasks(way=4)
    # Every task has the same classes, in an order of its own.
    classes = torch.stack([torch.randperm(4) + 5 for _ in range(3)])
    episodes = Episodes(*episodes.tensors()[:4], classes)
    drawn = MLTI(labels="shared", cross=1.0).draw(episodes, rng())
    for own, index in ((episodes.support_labels, drawn.support), (episodes.query_labels, drawn.query)):
        partner = own[drawn.task].gather(1, index)
        assert torch.equal(classes.gather(1, own), classes[drawn.task].gather(1, partner))
    with pytest.raises(FewshotError, match="labels=shared needs tasks that have the same classes"):
        MLTI(labels="shared", cross=1.0).draw(tasks(), rng())


def test_gradients_are_those_of_a_plain_reference():
    """A step of Prototypical Networks on mixed maps, written task by task with the blocks called one by one."""
    episodes = tasks()
    mlti = MLTI(levels=[2], cross=0.5)
    learner = learner_of(mlti)
    found = gradients(learner, episodes, seed=5)[1]
    torch.manual_seed(5)
    drawn = mlti.draw(episodes, fresh_rng())
    reference = learner_of()
    b1, b2, b3, b4 = reference.backbone.blocks
    images = torch.cat([episodes.support.flatten(0, 1), episodes.query.flatten(0, 1)])
    hidden = b2(b1(images))
    s, q = hidden[:24].unflatten(0, (3, 8)), hidden[24:].unflatten(0, (3, 12))
    mixed = []
    for maps, index in ((s, drawn.support), (q, drawn.query)):
        for b in range(3):
            share = drawn.share[b].double()
            mixed.append(share * maps[b] + (1 - share) * maps[int(drawn.task[b])][index[b]])
    z = b4(b3(torch.cat(mixed))).flatten(1)
    loss = 0
    for b in range(3):
        support, query = z[8 * b : 8 * b + 8], z[24 + 12 * b : 36 + 12 * b]
        centres = torch.stack([support[episodes.support_labels[b] == n].mean(0) for n in range(4)])
        logits = -(query[:, None] - centres).square().sum(-1)
        loss = loss + torch.nn.functional.cross_entropy(logits, episodes.query_labels[b]) / 3
    loss.backward()
    for name, p in reference.named_parameters():
        torch.testing.assert_close(found[name], p.grad, rtol=1e-8, atol=1e-10)


def test_support_and_query_must_have_one_permutation():
    """Were the queries' classes permuted by themselves, separable tasks would be decided by chance."""
    torch.manual_seed(0)
    centres = 10 * torch.randn(2, 4, 64).double()
    labels = torch.arange(4).repeat_interleave(3).expand(2, -1)
    items = centres.gather(1, labels[..., None].expand(-1, -1, 64)).reshape(2, 12, 1, 8, 8)
    episodes = Episodes(items, labels, items, labels, torch.arange(8).reshape(2, 4))
    learner = MetricLearner(Pixels(1, 8), learner_of().head, CrossEntropy())
    mlti = Fixed(0.1, input="linear", cross=1.0)
    right, wrong = [], []
    for seed in range(10):
        one, other = (mlti.draw(episodes, rng(2 * seed + k)) for k in (0, 1))
        right.append(learner.loss_of_features(one.items(episodes).map(torch.nn.Flatten())).accuracy)
        swapped = replace(one, query=other.query)
        wrong.append(learner.loss_of_features(swapped.items(episodes).map(torch.nn.Flatten())).accuracy)
    assert float(torch.stack(right).mean()) == 1
    assert 0.05 < float(torch.stack(wrong).mean()) < 0.5


@pytest.mark.parametrize(
    ("share", "expected"), [(1.0, 0.5631), (0.75, 0.4543), (0.5, 0.3255), (0.25, 0.1922), (0.0, 0.0)]
)
def test_boxes_cover_what_their_closed_form_says(share, expected):
    covered = draw_boxes(np.full(4000, share), 84, 84, rng()).mean()
    assert covered == pytest.approx((np.sqrt(share) - share / 4) ** 2, abs=0.02)
    assert covered == pytest.approx(expected, abs=0.02)


def test_beta_two_two_leaves_the_task_a_third_of_the_pixels():
    generator = rng()
    covered = draw_boxes(generator.beta(2, 2, 4000), 84, 84, generator).mean((1, 2))
    assert covered.mean() == pytest.approx(0.3195, abs=0.01)
    assert (covered > 0.5).mean() == pytest.approx(0.13, abs=0.02)


def test_a_box_of_a_task_lies_in_its_partner():
    episodes = tasks(count=2)
    drawn = MLTI(cross=1.0).draw(episodes, rng(1))
    mixed, partners = drawn.items(episodes), drawn.partners(episodes)
    boxes = drawn.boxes
    assert not torch.equal(*boxes), "support and queries have boxes of their own"
    for which, box in zip(("support", "query"), boxes, strict=True):
        inside = box[:, None, None].expand_as(getattr(mixed, which))
        assert torch.equal(getattr(mixed, which)[inside], getattr(episodes, which)[inside])
        assert torch.equal(getattr(mixed, which)[~inside], getattr(partners, which)[~inside])
    whole = Fixed(0.0, cross=1.0)
    alone = replace(whole.draw(episodes, rng()), boxes=torch.zeros_like(boxes))
    assert torch.equal(alone.items(episodes).query, alone.partners(episodes).query)


def test_the_chance_of_another_task_the_levels_and_the_shares_are_as_asked():
    mlti, episodes = MLTI(levels=[0, 2, 3], beta=(2.0, 5.0), cross=0.25), tasks(count=8, side=2)
    drawn = [mlti.draw(episodes, rng(seed)) for seed in range(400)]
    crossed = torch.stack([d.task != torch.arange(8) for d in drawn]).double().mean()
    assert float(crossed) == pytest.approx(0.25, abs=0.03)
    assert float(torch.stack([d.share for d in drawn]).mean()) == pytest.approx(2 / 7, abs=0.01)
    levels = [d.level for d in drawn]
    assert all(levels.count(level) == pytest.approx(133, abs=40) for level in (0, 2, 3))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("input", ["cutmix", "linear"])
def test_mixed_images_keep_their_layout(layout, input):
    episodes = tasks(channels=3)
    episodes = episodes.map(lambda x: x.contiguous(memory_format=layout))
    mixed = MLTI(input=input).draw(episodes, rng()).items(episodes)
    assert mixed.query.flatten(0, 1).is_contiguous(memory_format=layout)


# In MAML.


def maml_of(augmentation=None, seed=0, **options):
    torch.manual_seed(seed)
    backbone = conv4()
    learner = MetricLearner(backbone, LinearHead(backbone.feature_size, 4), CrossEntropy(), augmentation)
    return MAML(learner, **{"steps": 2, "lr": 0.1, **options}).double()


HOW = [
    {"tasks": "loop"},
    {"tasks": "vmap", "tasks_per_chunk": 2},
    {"tasks": "loop", "norm": "support_plus_one"},
    {"adapts": "head"},
    {"adapts": "head", "norm": "running"},
    {"tasks": "loop", "norm": "transductive", "first_order": True},
]


@pytest.mark.parametrize("options", HOW)
@pytest.mark.parametrize("level", [0, 1, 4])
def test_maml_with_a_share_of_one_is_plain_maml(options, level):
    episodes = tasks()
    plain = gradients(maml_of(**options), episodes)
    mixed = gradients(maml_of(Fixed(1.0, levels=[level], input="linear", cross=1.0), **options), episodes)
    torch.testing.assert_close(plain[0].total, mixed[0].total, rtol=1e-12, atol=1e-12)
    for name, value in plain[1].items():
        torch.testing.assert_close(value, mixed[1][name], rtol=1e-9, atol=1e-12)


def reptile_of(augmentation=None):
    torch.manual_seed(0)
    backbone = conv4()
    learner = MetricLearner(backbone, LinearHead(backbone.feature_size, 4), CrossEntropy(), augmentation)
    return Reptile(learner, steps=2).double()


def test_reptile_trains_on_mixed_images():
    episodes = tasks()
    plain = gradients(reptile_of(), episodes)
    whole = gradients(reptile_of(Fixed(1.0, input="linear", cross=1.0)), episodes)
    assert torch.equal(plain[0].total, whole[0].total)
    assert not torch.equal(plain[0].total, gradients(reptile_of(MLTI()), episodes)[0].total)
    with pytest.raises(FewshotError, match=r"Reptile changes tasks at the images alone, not at levels \[1\]"):
        reptile_of(MLTI(levels=[1]))


@pytest.mark.parametrize("level", [0, 2])
def test_loop_and_vmap_of_maml_mix_the_same(level):
    episodes = tasks()
    found = [
        gradients(maml_of(MLTI(levels=[level]), tasks=how, tasks_per_chunk=2), episodes) for how in ("loop", "vmap")
    ]
    torch.testing.assert_close(found[0][0].total, found[1][0].total, rtol=1e-10, atol=1e-12)
    for name, value in found[0][1].items():
        torch.testing.assert_close(value, found[1][1][name], rtol=1e-8, atol=1e-11)


def test_maml_on_mixed_images_is_maml_on_a_batch_of_mixed_images():
    episodes, mlti = tasks(), MLTI()
    found = gradients(maml_of(mlti), episodes, seed=7)
    torch.manual_seed(7)
    mixed = mlti.draw(episodes, fresh_rng()).items(episodes)
    expected = gradients(maml_of(), mixed)
    assert torch.equal(found[0].total, expected[0].total)


def test_maml_mixes_maps_of_the_weights_of_each_step():
    """One task, two steps, everything written out: the maps of own and partner under the weights of the moment."""
    episodes, mlti = tasks(count=2), MLTI(levels=[1], cross=1.0)
    maml = maml_of(mlti, tasks="loop")
    torch.manual_seed(3)
    drawn = mlti.draw(episodes, fresh_rng())
    torch.manual_seed(3)
    found = maml.training_loss(episodes).total
    learner, expected = maml.learner, 0
    others = drawn.partners(episodes)

    class Body(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = learner.backbone

        def forward(self, own, other, share):
            first, *rest = self.backbone.blocks
            h = share * first(own) + (1 - share) * first(other)
            for block in rest:
                h = block(h)
            return h.flatten(1)

    def logits_of(w, b, first):
        sets = [(episodes.support[b], others.support[b])]
        if not first:
            sets.append((episodes.query[b], others.query[b]))
        own, other = (torch.cat([pair[k] for pair in sets]) for k in (0, 1))
        for norm in maml.norms:
            norm.support_items = 8
        body = {n: v for n, v in w.items() if n.startswith("backbone.")}
        z = torch.func.functional_call(Body(), body, (own, other, drawn.share[b].double()))
        return z @ w["head.weight"].T + w["head.bias"]

    for b in range(2):
        w = dict(learner.named_parameters())
        for _ in range(2):
            loss = torch.nn.functional.cross_entropy(logits_of(w, b, True), episodes.support_labels[b])
            slopes = torch.autograd.grad(loss, list(w.values()), create_graph=True)
            w = {n: v - 0.1 * g for (n, v), g in zip(w.items(), slopes, strict=True)}
        logits = logits_of(w, b, False)[8:]
        expected = expected + torch.nn.functional.cross_entropy(logits, episodes.query_labels[b]) / 2
    torch.testing.assert_close(found.detach(), expected.detach(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"levels": []}, "levels="),
        ({"levels": [-1]}, "levels="),
        ({"beta": [2.0]}, "beta=.*two positive numbers"),
        ({"beta": [0.0, 1.0]}, "beta="),
        ({"cross": 1.5}, "cross=1.5; expected 0 to 1"),
        ({"labels": "soft"}, "labels=soft; expected one of arbitrary, shared"),
        ({"input": "box"}, "input=box"),
    ],
)
def test_what_it_cannot_do_is_refused(options, message):
    with pytest.raises(FewshotError, match=message):
        MLTI(**options)


def test_a_level_that_is_not_there_and_a_single_task_are_refused():
    with pytest.raises(FewshotError, match="no level 5 in Conv4; use 0 to 4"):
        learner_of(MLTI(levels=[0, 5]))
    with pytest.raises(FewshotError, match=r"use training\.tasks_per_step=4"):
        MLTI().check(conv4(), 1)
    MLTI(cross=0.0).check(conv4(), 1)
