"""A map of features: distances where two directions hold all, the same as scikit-learn's, and classes where they are."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.metrics import silhouette_score

from fewshot.backbones.conv4 import Conv4
from fewshot.backbones.pixels import Pixels
from fewshot.errors import FewshotError
from fewshot.evaluation.embedding import embed_bank
from fewshot.evaluation.embedding_map import draw_embedding, flat_map
from fewshot.heads.prototype import PrototypeHead
from fewshot.learners.metric_learner import MetricLearner
from fewshot.losses.cross_entropy import CrossEntropy


def test_features_of_two_directions_keep_their_distances_under_any_rotation():
    generator = torch.Generator().manual_seed(0)
    flat = torch.randn(40, 2, generator=generator, dtype=torch.float64) * torch.tensor([3.0, 1.0])
    turn = torch.linalg.qr(torch.randn(7, 7, generator=generator, dtype=torch.float64)).Q[:2]
    points, names = flat_map(flat @ turn + 5)
    torch.testing.assert_close(torch.cdist(points, points), torch.cdist(flat, flat))
    shares = [int(name.partition("(")[2].partition("%")[0]) for name in names]
    assert sum(shares) == 100
    assert shares[0] > shares[1]


def test_it_is_scikit_learns_pca_up_to_signs():
    features = torch.randn(60, 12, generator=torch.Generator().manual_seed(1)).double()
    expected = PCA(2).fit_transform(features.numpy())
    np.testing.assert_allclose(np.abs(flat_map(features)[0]), np.abs(expected), atol=1e-9)


def test_neighbourhoods_of_classes_survive_tsne(bank_of):
    bank = bank_of(classes=4, noise=0.3)
    features = bank.items.flatten(1) / 255
    points = flat_map(features, "tsne", seed=3)[0]
    assert silhouette_score(points, bank.labels) > 0.5
    torch.testing.assert_close(flat_map(features, "tsne", seed=3)[0], points)


def learner(backbone):
    torch.manual_seed(0)
    return MetricLearner(backbone, PrototypeHead(), CrossEntropy())


@pytest.mark.parametrize("classes", [3, ["class 11", "class 2", "class 7"]])
def test_the_points_are_those_of_the_classes(bank, classes):
    mine = learner(Conv4(1, image_size=28, width=4)).train()
    figure = draw_embedding(mine, bank, classes)
    assert mine.training, "left as it was"
    (axes,) = figure.axes
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names == (["class 0", "class 1", "class 2"] if classes == 3 else classes)
    clouds = [np.asarray(points.get_offsets()) for points in axes.collections]
    assert [len(cloud) for cloud in clouds] == [20, 1] * 3
    for cloud, mean in zip(clouds[::2], clouds[1::2], strict=True):
        np.testing.assert_allclose(cloud.mean(0), mean[0], atol=1e-9)
    features = embed_bank(mine.eval(), bank)
    numbers = [int(name.split()[1]) for name in names]
    expected, _ = flat_map(torch.cat([features.items[features.labels == number] for number in numbers]))
    np.testing.assert_allclose(np.abs(np.concatenate(clouds[::2])), np.abs(expected), atol=1e-4)


def test_a_bank_of_features_needs_no_learner(bank):
    features = bank.with_features(bank.items.flatten(1).float() / 255)
    shown = [np.asarray(points.get_offsets()) for points in draw_embedding(None, features, 2).axes[0].collections]
    same = draw_embedding(learner(Pixels(1, 28)), bank, 2).axes[0].collections
    for one, other in zip(shown, same, strict=True):
        np.testing.assert_allclose(one, other.get_offsets(), atol=1e-4)


def test_what_cannot_be_drawn_is_one_line(bank):
    with pytest.raises(FewshotError, match="method='umap'; expected one of pca, tsne"):
        draw_embedding(None, bank, method="umap")
    with pytest.raises(FewshotError, match="give the learner"):
        draw_embedding(None, bank)
    with pytest.raises(FewshotError, match="has 0 classes with 'zebra'"):
        draw_embedding(None, bank, ["zebra"])
    with pytest.raises(FewshotError, match="at least one class"):
        draw_embedding(None, bank, 0)

    class Adapts(MetricLearner):
        scores_frozen_features = False

    adapts = Adapts(Pixels(1, 28), PrototypeHead(), CrossEntropy())
    with pytest.raises(FewshotError, match="features of Adapts depend on the task"):
        draw_embedding(adapts, bank)
