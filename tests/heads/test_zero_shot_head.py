import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from fewshot.episodes.episodes import Episodes
from fewshot.errors import FewshotError
from fewshot.heads.prototype import PrototypeHead
from fewshot.heads.zero_shot import ZeroShotHead

from .conftest import episodes_of, random


def described(shots=(2, 2, 2), attributes=5, **options) -> Episodes:
    episodes = episodes_of(shots or (1, 1, 1), **options)
    episodes = Episodes(*episodes.tensors(), attributes=random(4, 3, attributes, seed=9).abs() * 100)
    return episodes if shots else episodes.without_support()


def head_of(**options) -> ZeroShotHead:
    torch.manual_seed(0)
    return ZeroShotHead(6, 5, **({"dimension": 7} | options)).double()


def test_without_support_logits_are_distances_of_projected_features_to_unit_prototypes():
    head, episodes = head_of(), described(shots=None)
    for b in range(4):
        points = head.features(episodes.query[b])
        for c in range(3):
            a = episodes.attributes[b, c]
            prototype = head.attributes(a / a.norm())
            prototype = prototype / prototype.norm()
            torch.testing.assert_close(head(episodes)[b, :, c], -(points - prototype).square().sum(-1))


@pytest.mark.parametrize("options", [{}, {"dimension": 0}, {"prior_shots": 5.0}, {"weight": 0.5}, {"weight": 0.0}])
def test_no_shots_are_zero_shot_whatever_the_weight(options):
    head, episodes = head_of(**options), described(shots=None)
    plain = head_of(**({"dimension": 7} | {k: v for k, v in options.items() if k == "dimension"}))
    torch.testing.assert_close(head(episodes), plain(episodes), rtol=0, atol=0)


@pytest.mark.parametrize("options", [{"weight": 0.0}, {"prior_shots": 0.0}])
@pytest.mark.parametrize("shots", [(1, 1, 1), (3, 3, 3), (1, 4, 2)])
def test_weight_nought_is_the_prototype_head_to_the_last_bit(options, shots):
    episodes = described(shots)
    head = head_of(**options)
    assert torch.equal(head(episodes), PrototypeHead()(episodes.map(head.features)))
    # Without a map of features, that of the features as they are.
    assert torch.equal(head_of(dimension=0, **options)(episodes), PrototypeHead()(episodes))


def test_weight_one_leaves_the_support_out():
    head, episodes = head_of(weight=1.0), described()
    torch.testing.assert_close(head(episodes), head(episodes.without_support()))


def test_attributes_count_as_so_many_shots():
    episodes, head = described((1, 3, 2)), head_of(prior_shots=2.0)
    known = head.of_attributes(episodes.attributes)
    points = head.features(episodes.support)
    for c, shots in enumerate((1, 3, 2)):
        mine = episodes.support_labels[0] == c
        # As if the class had two more support items, both at the prototype of its attributes.
        centre = (points[:, mine].sum(1) + 2 * known[:, c]) / (shots + 2)
        expected = -(head.features(episodes.query) - centre[:, None]).square().sum(-1)
        torch.testing.assert_close(head(episodes)[..., c], expected)


def test_many_shots_outweigh_attributes():
    weights = head_of()(described()), head_of().weight(torch.tensor([[0.0, 1.0, 9.0, 1e9]]).double())
    torch.testing.assert_close(weights[1], torch.tensor([[1.0, 0.5, 0.1, 0.0]]).double(), atol=1e-8, rtol=0)


def test_what_is_learned_gets_a_gradient_and_nothing_else_of_the_weight_does():
    episodes = described((2, 2, 2))
    for options, names in (
        ({}, set()),
        ({"learn_weight": True}, {"log_weight"}),
        ({"learn_weight": True, "weight": 0.3, "learn_scale": True, "scale": 4.0}, {"log_weight", "log_scale"}),
    ):
        head = head_of(**options)
        cross_entropy(head(episodes).flatten(0, 1), episodes.query_labels.flatten()).backward()
        scalars = {name for name, p in head.named_parameters() if p.dim() == 0}
        assert scalars == names
        assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.abs().sum() > 0 for p in head.parameters())


def test_the_scale_is_the_length_of_prototypes():
    lengths = head_of(scale=3.0).of_attributes(described().attributes).norm(dim=-1)
    torch.testing.assert_close(lengths, torch.full((4, 3), 3.0).double())


@pytest.mark.parametrize(
    ("scaling", "same_under"),
    [("unit", lambda a: a * 7), ("binary", lambda a: (a >= 50) * 100.0), ("percent", None), ("raw", None)],
)
def test_scalings_of_attributes(scaling, same_under):
    head, episodes = head_of(scaling=scaling), described(shots=None)
    expected = {
        "unit": normalize(episodes.attributes, dim=-1),
        "binary": (episodes.attributes >= 50).double(),
        "percent": episodes.attributes / 100,
        "raw": episodes.attributes,
    }[scaling]
    torch.testing.assert_close(head.of_attributes(episodes.attributes), normalize(head.attributes(expected), dim=-1))
    if same_under:
        other = Episodes(*episodes.tensors()[:5], attributes=same_under(episodes.attributes))
        torch.testing.assert_close(head(other), head(episodes))


def test_classes_permute_with_their_attributes():
    head, episodes, order = head_of(), described(), torch.tensor([2, 0, 1])
    permuted = Episodes(
        episodes.support,
        torch.argsort(order)[episodes.support_labels],
        episodes.query,
        episodes.query_labels,
        episodes.classes[:, order],
        episodes.attributes[:, order],
    )
    torch.testing.assert_close(head(permuted), head(episodes)[..., order])


def test_it_learns_a_linear_relation_and_carries_it_to_new_classes():
    generator = torch.Generator().manual_seed(0)
    table = torch.rand(60, 5, generator=generator)
    mixing = torch.randn(5, 6, generator=generator)

    def tasks(classes, count, query=4):
        ids = torch.stack([torch.randperm(len(classes), generator=generator)[:5] for _ in range(count)])
        known = classes[ids]
        labels = torch.arange(5).repeat_interleave(query).expand(count, -1)
        items = (known - known.mean()) @ mixing
        items = items.gather(1, labels[..., None].expand(-1, -1, 6))
        items = items + 0.05 * torch.randn(items.shape, generator=generator)
        return Episodes(items[:, :0], labels[:, :0], items, labels.contiguous(), ids, known)

    torch.manual_seed(0)
    head = ZeroShotHead(6, 5, dimension=16, scaling="raw")
    optimizer = torch.optim.Adam(head.parameters(), 0.02)
    for _ in range(300):
        batch = tasks(table[:40], 8)
        loss = cross_entropy(head(batch).flatten(0, 1), batch.query_labels.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    new = tasks(table[40:], 200)
    accuracy = (head(new).argmax(-1) == new.query_labels).float().mean()
    assert accuracy > 0.7
    wrong = Episodes(*new.tensors()[:5], attributes=new.attributes[:, torch.tensor([1, 2, 3, 4, 0])])
    assert (head(wrong).argmax(-1) == new.query_labels).float().mean() < 0.2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"attribute_size": None}, "head=zero_shot knows classes by their attributes, and this data has none"),
        ({"scaling": "half"}, "head.scaling=half; expected one of raw, percent, unit, binary"),
        ({"dimension": -1}, "head.dimension=-1"),
        ({"scale": 0.0}, "head.scale=0.0"),
        ({"prior_shots": -1.0}, "head.prior_shots=-1.0; expected at least 0"),
        ({"weight": 1.5}, "head.weight=1.5; expected at least 0 and at most 1"),
        ({"weight": 0.0, "learn_weight": True}, "head.weight=0.0; expected more than 0 and below 1"),
        ({"prior_shots": 0.0, "learn_weight": True}, "head.prior_shots=0.0; expected more than 0"),
    ],
)
def test_impossible_options_are_one_line(options, words):
    with pytest.raises(FewshotError) as caught:
        ZeroShotHead(**({"feature_size": 6, "attribute_size": 5} | options))
    assert words in str(caught.value)
