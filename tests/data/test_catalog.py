import pytest

from fewshot.data.catalog import about, dataset_names, open_dataset
from fewshot.errors import FewshotError


def test_every_listed_data_set_can_be_made_and_says_what_it_is():
    for name in dataset_names():
        assert open_dataset(name).recipe is not None
        assert len(about(name)) > 10


def test_options_change_the_defaults(tmp_path):
    assert open_dataset("omniglot", split="lake", root=tmp_path).splits == ("train", "test")


@pytest.mark.parametrize(
    ("name", "options", "word"),
    [
        ("omnigolt", {}, "did you mean omniglot"),
        ("glyphs", {"fingers": 5}, "no option 'fingers'"),
        ("omniglot", {"spilt": "lake"}, "did you mean split"),
        ("glyphs", {"hands": 0}, "hands=0"),
    ],
)
def test_what_does_not_exist_is_refused(name, options, word):
    with pytest.raises(FewshotError, match=word):
        open_dataset(name, **options)
