import math

import pytest
import torch

from fewshot.classifiers.cosine import CosineClassifier
from fewshot.classifiers.equiangular import EquiangularClassifier, equiangular_vectors
from fewshot.classifiers.linear import LinearClassifier
from fewshot.errors import FewshotError


def features(count=7, size=16):
    return torch.randn(count, size, generator=torch.Generator().manual_seed(0))


def test_the_linear_one_is_a_linear_map():
    classifier = LinearClassifier(16, 5)
    torch.testing.assert_close(classifier(features()), features() @ classifier.weight.T + classifier.bias)


@pytest.mark.parametrize(("classes", "scale"), [(64, 2.0), (200, 2.0), (351, 10.0)])
def test_the_cosine_one_is_bounded_by_its_scale_and_blind_to_lengths(classes, scale):
    classifier, x = CosineClassifier(16, classes), features()
    logits = classifier(x)
    assert logits.shape == (7, classes)
    assert logits.abs().max() <= scale
    torch.testing.assert_close(classifier(5 * x), logits)
    rows = zip(classifier.weight, classifier.norms, strict=True)
    plain = torch.stack([scale * g * torch.cosine_similarity(x, w[None]) for w, g in rows], 1)
    torch.testing.assert_close(logits, plain)
    # As weight normalisation of a linear layer starts: with the length of its rows.
    torch.testing.assert_close(classifier.norms, classifier.weight.norm(dim=1))


def test_learned_norms_scale_columns():
    classifier = CosineClassifier(16, 5, scale=3.0)
    before = classifier(features())
    with torch.no_grad():
        classifier.norms[2] /= 2
    torch.testing.assert_close(classifier(features())[:, 2], before[:, 2] / 2)
    assert CosineClassifier(16, 5, learn_norms=False).norms is None


def test_up_to_as_many_vectors_as_dimensions_are_orthonormal():
    vectors = equiangular_vectors(10, 16)
    torch.testing.assert_close(vectors @ vectors.T, torch.eye(10), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("count", "size"), [(24, 16), (64, 32)])
def test_more_vectors_keep_their_distance(count, size):
    vectors = equiangular_vectors(count, size)
    cosines = (vectors @ vectors.T - torch.eye(count)).abs()
    bound = math.sqrt((count - size) / (size * (count - 1)))
    # Welch: there is no set below the bound; and half more than it is kept.
    assert bound <= cosines.max() <= 1.5 * bound + 2e-4
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(count))
    assert torch.equal(vectors, equiangular_vectors(count, size))
    assert not torch.equal(vectors, equiangular_vectors(count, size, seed=1))


def test_the_vectors_are_not_trained_and_permuting_them_with_labels_changes_nothing():
    classifier = EquiangularClassifier(16, 10, temperature=0.5)
    assert not list(classifier.parameters())
    labels, order = torch.arange(7) % 10, torch.randperm(10, generator=torch.Generator().manual_seed(2))
    loss = torch.nn.functional.cross_entropy(classifier(features()), labels)
    classifier.vectors.copy_(classifier.vectors[order])
    place = order.argsort()
    torch.testing.assert_close(torch.nn.functional.cross_entropy(classifier(features()), place[labels]), loss)


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: CosineClassifier(4, 3, scale=0.0), "classifier.scale=0"),
        (lambda: EquiangularClassifier(4, 3, temperature=0.0), "classifier.temperature=0"),
        (
            lambda: equiangular_vectors(40, 4, threshold=0.1, steps=5),
            "none are below 0.480. Set classifier.threshold to more than",
        ),
    ],
)
def test_what_cannot_be_made_is_refused(make, word):
    with pytest.raises(FewshotError, match=word.replace(".", r"\.")):
        make()
