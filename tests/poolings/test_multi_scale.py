"""MSENet's attention, its features of several stages, and the head that weighs them."""

import pytest
import torch

from fewshot.backbones.conv4 import Conv4
from fewshot.episodes.episodes import Episodes
from fewshot.errors import FewshotError
from fewshot.heads.multi_scale import MultiScaleHead
from fewshot.heads.prototype import PrototypeHead
from fewshot.learners.metric_learner import MetricLearner
from fewshot.losses.cross_entropy import CrossEntropy
from fewshot.poolings.multi_scale import MultiScale, SelfAttention
from fewshot.poolings.plain import Flatten, GlobalAverage
from fewshot.poolings.pooled import Pooled, stage_shapes


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def episodes(support, query):
    way = support.shape[1]
    labels = torch.arange(way).expand(len(support), -1).contiguous()
    query_labels = (torch.arange(query.shape[1]) % way).expand(len(support), -1).contiguous()
    return Episodes(support, labels, query, query_labels, labels)


def multi_scale_conv4(**options):
    torch.manual_seed(0)
    backbone = Conv4(channels=1, width=8, image_size=28)
    return Pooled(backbone, MultiScale(stage_shapes(backbone, 1, 28), **options))


def test_attention_without_weight_leaves_the_map_as_it_is():
    maps = random(2, 16, 5, 4)
    assert torch.equal(SelfAttention(16)(maps), maps)
    assert not torch.equal(SelfAttention(16, gamma=0.2)(maps), maps)


def test_attention_mixes_positions_by_their_likeness():
    torch.manual_seed(0)
    layer, maps = SelfAttention(16, gamma=0.5), random(2, 16, 3, 4)
    q, k, v = (part(maps).flatten(2) for part in (layer.query, layer.key, layer.value))
    assert q.shape == k.shape == (2, 2, 12)
    mixed = torch.zeros(2, 16, 12)
    for b in range(2):
        for i in range(12):
            weights = torch.stack([(q[b, :, i] * k[b, :, j]).sum() for j in range(12)]).softmax(0)
            mixed[b, :, i] = sum(w * v[b, :, j] for j, w in enumerate(weights))
    torch.testing.assert_close(layer(maps), maps + 0.5 * mixed.view_as(maps), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(layer.attention(maps).sum(-1), torch.ones(2, 12))


def test_attention_moves_with_the_positions_and_keeps_constant_maps_constant():
    torch.manual_seed(0)
    layer, maps = SelfAttention(8, gamma=1.0), random(2, 8, 3, 3)
    torch.testing.assert_close(layer(maps.flip(3)), layer(maps).flip(3), rtol=1e-5, atol=1e-5)
    constant = layer(random(2, 8, 1, 1).expand(-1, -1, 3, 3))
    torch.testing.assert_close(constant, constant[:, :, :1, :1].expand_as(constant))


def test_features_are_the_means_of_the_last_stages_end_to_end():
    network, x = multi_scale_conv4(stages=3, attention=False).eval(), random(2, 1, 28, 28)
    expected = [maps.mean(dim=(2, 3)) for maps in network.backbone.stages(x)[1:]]
    torch.testing.assert_close(network(x), torch.cat(expected, 1))
    assert network.stage_sizes == (8, 8, 8)
    assert network.feature_size == 24


@pytest.mark.parametrize("stages", [0, 5])
def test_stages_that_are_not_there_are_refused(stages):
    with pytest.raises(FewshotError, match=f"pooling.stages={stages}; this backbone has 1 to 4"):
        multi_scale_conv4(stages=stages)


def test_average_and_flatten():
    backbone, x = Conv4(channels=1, width=8, image_size=40).eval(), random(2, 1, 40, 40)
    shapes = stage_shapes(backbone, 1, 40)
    assert shapes == [(8, 20, 20), (8, 10, 10), (8, 5, 5), (8, 2, 2)]
    torch.testing.assert_close(Pooled(backbone, Flatten(shapes))(x), backbone(x))
    average = Pooled(backbone, GlobalAverage(shapes))
    torch.testing.assert_close(average(x), Conv4.forward(_with_global_pool(backbone), x))
    assert (average.feature_size, average.map_shape) == (8, (8, 1, 1))
    assert stage_shapes(backbone.train(), 1, 40) == shapes
    assert int(backbone.blocks[0][1].num_batches_tracked) == 0


def _with_global_pool(backbone):
    backbone.global_pool = True
    return backbone


def test_a_backbone_without_stages_is_refused():
    with pytest.raises(FewshotError, match="Linear has no stages"):
        stage_shapes(torch.nn.Linear(2, 2), 1, 28)


def test_one_stage_of_weight_one_is_a_prototype_head_of_unsquared_distances():
    tasks = episodes(random(3, 4, 10), random(3, 8, 10, seed=1))
    head = MultiScaleHead((4, 6))
    head.alpha.data = torch.tensor([0.0, 1.0])
    last = tasks.with_items(tasks.support[..., 4:], tasks.query[..., 4:])
    torch.testing.assert_close(head(tasks), -(-PrototypeHead()(last)).sqrt())


def test_logits_are_linear_in_the_weights():
    tasks, head = episodes(random(2, 3, 9), random(2, 5, 9, seed=1)), MultiScaleHead((2, 3, 4))
    distances = head.distances(tasks).detach()
    for i in range(3):
        head.zero_grad()
        head(tasks)[1, 2, 0].backward()
        torch.testing.assert_close(head.alpha.grad[i], -distances[1, 2, 0, i])
    before = head(tasks)
    head.alpha.data *= 3
    torch.testing.assert_close(head(tasks), 3 * before)
    assert not MultiScaleHead((2,), learn_weights=False).alpha.requires_grad
    with pytest.raises(FewshotError, match="use pooling=multi_scale"):
        MultiScaleHead()


def test_a_query_that_is_the_support_image_is_at_distance_zero_at_each_stage():
    images = random(1, 3, 1, 28, 28)
    network = multi_scale_conv4(gamma=0.2).eval()
    tasks = episodes(images, images.clone()).map(network)
    distances = MultiScaleHead(network.stage_sizes).distances(tasks)
    assert distances[0, range(3), range(3)].max() < 1e-3


def test_attention_and_weights_are_trained():
    network = multi_scale_conv4()
    learner = MetricLearner(network, MultiScaleHead(network.stage_sizes), CrossEntropy())
    optimizer = torch.optim.SGD(learner.parameters(), lr=0.1)
    before = {name: p.clone() for name, p in learner.named_parameters()}
    tasks = episodes(random(1, 5, 1, 28, 28), random(1, 10, 1, 28, 28, seed=1))
    # Attention starts without weight: the first step changes its weight, the second what it attends to.
    for _ in range(2):
        optimizer.zero_grad()
        learner.training_loss(tasks).total.backward()
        optimizer.step()
    still = [name for name, p in learner.named_parameters() if torch.equal(p, before[name])]
    # The last map has one position, which can attend to nothing else.
    still = [
        name
        for name in still
        if not name.startswith(("backbone.pooling.attend.3.key", "backbone.pooling.attend.3.query"))
    ]
    # A key's bias moves all scores of a row alike, and a convolution's bias in front of BatchNorm is taken out again.
    assert all(name.endswith("bias") for name in still), still
    assert not [name for name in still if "alpha" in name or "gamma" in name]
