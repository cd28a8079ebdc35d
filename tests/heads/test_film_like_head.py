"""Images beside texts of class names: the head of a reconstruction of FILM."""

import math
from dataclasses import replace

import pytest
import torch

from fewshot.distances.cosine import cosine_similarity
from fewshot.episodes.prototypes import prototypes
from fewshot.errors import FewshotError
from fewshot.heads.film_like import FilmLikeHead

from .conftest import episodes_of, random

FORMS = pytest.mark.parametrize("metric", ["diagonal", "bilinear", "mlp"])


def informed(attributes=5, **options):
    episodes = episodes_of(dimension=6, **options)
    return replace(episodes, attributes=random(len(episodes), episodes.way, attributes, seed=9))


def head_of(metric="bilinear", moved=False, **options) -> FilmLikeHead:
    torch.manual_seed(0)
    head = FilmLikeHead(6, 5, size=8, metric=metric, rank=2, hidden=4, **options).double()
    if moved:
        with torch.no_grad():
            for p in head.metric.parameters():
                p.add_(0.3 * torch.randn_like(p))
    return head


@FORMS
def test_it_begins_as_the_cosine_over_the_temperature(metric):
    head, episodes = head_of(metric), informed()
    expected = cosine_similarity(head.image(episodes.query), head.text(episodes.attributes)) / 0.07
    torch.testing.assert_close(head(episodes), expected, rtol=1e-6, atol=0)


@FORMS
@pytest.mark.parametrize("fusion", [0.0, 0.4])
def test_the_order_of_classes_does_not_matter(metric, fusion):
    head, episodes, order = head_of(metric, moved=True, fusion=fusion), informed(), torch.tensor([2, 0, 1])
    attributes = torch.empty_like(episodes.attributes)
    attributes[:, order] = episodes.attributes
    turned = replace(episodes, support_labels=order[episodes.support_labels], attributes=attributes)
    torch.testing.assert_close(head(turned)[..., order], head(episodes), rtol=0, atol=1e-10)


@FORMS
def test_a_query_is_scored_without_the_others(metric):
    head, episodes = head_of(metric, moved=True, fusion=0.5), informed()
    alone = replace(episodes, query=episodes.query[:, 3:4], query_labels=episodes.query_labels[:, 3:4])
    torch.testing.assert_close(head(alone)[:, 0], head(episodes)[:, 3], rtol=0, atol=1e-10)


def test_without_fusion_the_support_plays_no_part():
    head, episodes = head_of(moved=True), informed()
    torch.testing.assert_close(head(episodes.without_support()), head(episodes), rtol=0, atol=0)
    assert not head.reads_support
    assert head_of(fusion=0.1).reads_support


def test_a_fusion_of_one_is_prototypes_alone():
    head, episodes = head_of(fusion=1.0), informed()
    unit = torch.nn.functional.normalize(head.image(episodes.support), dim=-1)
    centres = prototypes(unit, episodes.support_labels, episodes.way)
    expected = cosine_similarity(head.image(episodes.query), centres) / 0.07
    torch.testing.assert_close(head(episodes), expected, rtol=1e-6, atol=1e-12)
    assert not head.reads_attributes
    assert {name for name, _ in head.named_parameters()} == {"image.weight", "image.bias", "log_temperature"}
    torch.testing.assert_close(head(replace(episodes, attributes=None)), head(episodes))


def test_scores_of_a_fusion_lie_between_those_of_its_ends():
    episodes = informed()
    head, scores = head_of(moved=True), []
    for head.fusion in (0.0, 1.0, 0.25):
        scores.append(head(episodes))
    torch.testing.assert_close(scores[2], 0.75 * scores[0] + 0.25 * scores[1], rtol=0, atol=1e-10)


def test_with_the_right_maps_it_makes_no_mistake():
    # Texts are the corners of a simplex, images noisy linear pictures of them, and V undoes that picture.
    classes, noise = torch.eye(5, dtype=torch.float64), 0.05
    picture = random(6, 5, seed=4)
    episodes = episodes_of((1,) * 5, query=20, dimension=6)
    query = classes[episodes.query_labels] @ picture.T + noise * random(4, 20, 6, seed=5)
    episodes = replace(episodes, query=query, attributes=classes.expand(4, 5, 5))
    head = FilmLikeHead(6, 5, size=5).double()
    with torch.no_grad():
        head.text.weight.copy_(torch.eye(5))
        head.image.weight.copy_(torch.linalg.pinv(picture))
        head.text.bias.zero_()
        head.image.bias.zero_()
    assert (head(episodes).argmax(-1) == episodes.query_labels).all()


def test_texts_that_say_nothing_give_chance():
    # No choice of V and T tells classes apart whose texts are drawn anew in each task.
    episodes = episodes_of((1,) * 5, query=50, dimension=6, tasks=400)
    centres = 3 * random(400, 5, 6, seed=11)
    rows = torch.arange(400)[:, None]
    episodes = replace(
        episodes, query=episodes.query + centres[rows, episodes.query_labels], attributes=random(400, 5, 5, seed=12)
    )
    right = (head_of(moved=True)(episodes).argmax(-1) == episodes.query_labels).double().mean(1)
    assert abs(right.mean() - 0.2) < 4 * right.std() / 20


def test_a_learned_temperature_stays_at_one_hundredth_or_above():
    head, episodes = head_of(), informed()
    with torch.no_grad():
        head.log_temperature.fill_(-20)
    expected = cosine_similarity(head.image(episodes.query), head.text(episodes.attributes)) * 100
    torch.testing.assert_close(head(episodes), expected, rtol=1e-6, atol=0)


def test_a_temperature_below_the_least_finds_its_way_back():
    head, episodes = head_of(), informed()
    with torch.no_grad():
        head.log_temperature.fill_(math.log(0.009))
    optimizer = torch.optim.SGD([head.log_temperature], 1e-3)
    head(episodes).square().mean().backward()
    optimizer.step()
    assert head.log_temperature > math.log(0.009), "flatter scores are wanted"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"attribute_size": None}, "compares images with what is known of classes, and nothing is"),
        ({"attribute_size": 5, "size": 0}, "head.size=0; expected at least 1"),
        ({"attribute_size": 5, "temperature": 0.0}, "head.temperature=0.0; expected at least 0.01"),
        ({"fusion": 1.5}, "head.fusion=1.5; expected 0 to 1"),
    ],
)
def test_a_bad_option_is_one_line(options, words):
    with pytest.raises(FewshotError, match=words):
        FilmLikeHead(6, **options)


def test_episodes_without_attributes_are_one_line():
    with pytest.raises(FewshotError, match="nothing is known of the classes of these episodes"):
        head_of()(episodes_of(dimension=6))
