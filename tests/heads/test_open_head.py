"""A head by its name is that of the command line, with what is done to features first."""

import pytest
import torch
from hydra import compose, initialize_config_dir

from fewshot.backbones.pixels import Pixels
from fewshot.cli import recipe
from fewshot.episodes.protocol import Protocol
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.errors import FewshotError
from fewshot.heads.catalog import open_head
from fewshot.heads.prototype import PrototypeHead
from fewshot.heads.transductive.tim import TIMHead
from fewshot.resources import conf_folder

NAMES = sorted(path.stem for path in (conf_folder() / "head").glob("*.yaml"))


class Backbone(Pixels):
    """What any head may ask of one."""

    map_shape = (1, 28, 28)
    stage_sizes = (392, 392)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_what_the_command_line_makes(bank, name):
    backbone, known = Backbone(1, 28), bank.replacing(class_attributes=torch.rand(bank.num_classes, 5))
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        node = compose("config", overrides=[f"head={name}"]).head
    torch.manual_seed(0)
    expected = recipe.make_head(node, recipe.told(backbone, None, known))
    torch.manual_seed(0)
    made = open_head(name, backbone, known)
    assert repr(made) == repr(expected)
    for (key, one), other in zip(made.state_dict().items(), expected.state_dict().values(), strict=True):
        torch.testing.assert_close(one, other, equal_nan=True, msg=key)


def test_features_are_prepared_and_options_taken(bank):
    features = bank.with_features(bank.items.flatten(1).float() / 255)
    episodes = EpisodeSampler(features, Protocol(5, 2, 6)).episodes(0, 3)
    made = open_head("tim", Pixels(1, 28), temperature=3)
    assert made.transductive
    unit = episodes.map(lambda items: torch.nn.functional.normalize(items, dim=-1))
    torch.testing.assert_close(made(episodes), TIMHead(temperature=3.0)(unit))
    plain = open_head("prototype", Pixels(1, 28), distance="cosine")
    torch.testing.assert_close(plain(episodes), PrototypeHead("cosine")(episodes))


def test_what_there_is_not_is_one_line():
    backbone = Pixels(1, 28)
    with pytest.raises(FewshotError, match="unknown head 'prototipe'; did you mean prototype"):
        open_head("prototipe", backbone)
    with pytest.raises(FewshotError, match=r"head\.tim has no option 'temprature' \(known: "):
        open_head("tim", backbone, temprature=1)
    with pytest.raises(FewshotError, match="temperature"):
        open_head("tim", backbone, temperature="hot")
