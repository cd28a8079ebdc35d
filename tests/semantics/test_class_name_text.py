"""Banks described by the text of their class names, and the file that keeps it."""

import numpy as np
import pytest

from fewshot.backbones.text_ngrams import NgramEncoder
from fewshot.episodes.protocol import Protocol
from fewshot.episodes.sampler import EpisodeSampler
from fewshot.errors import FewshotError
from fewshot.semantics.class_name_text import ClassNameText
from fewshot.semantics.embedding_cache import kept
from fewshot.semantics.own_attributes import OwnAttributes


class Counting(NgramEncoder):
    """Counts how often it is asked."""

    asked = 0

    def __call__(self, texts):
        self.asked += 1
        return super().__call__(texts)


def test_each_class_has_the_vector_of_its_name(bank):
    made = ClassNameText(NgramEncoder(), "{class}").described(bank)
    np.testing.assert_array_equal(made.class_attributes.numpy(), NgramEncoder()(bank.class_names))
    assert made.fingerprint == bank.fingerprint


def test_episodes_carry_them_in_the_order_of_their_labels(bank):
    made = ClassNameText(NgramEncoder(), "{class}").described(bank)
    episodes = EpisodeSampler(made, Protocol(3, 1, 2)).episodes(0, 4)
    for b in range(4):
        names = [bank.class_names[c] for c in episodes.classes[b]]
        np.testing.assert_array_equal(episodes.attributes[b].numpy(), NgramEncoder()(names))


def test_several_prompts_are_averaged(bank):
    def of(prompt):
        return ClassNameText(NgramEncoder(), prompt).described(bank).class_attributes

    first, second = "a photo of a {class}", "{class} from far"
    np.testing.assert_allclose(of([first, second]), (of(first) + of(second)) / 2, rtol=1e-6)


def test_shuffled_names_are_the_same_names_on_other_classes(bank):
    right = ClassNameText(NgramEncoder(), "{class}").described(bank).class_attributes
    wrong = ClassNameText(NgramEncoder(), "{class}", shuffle=0).described(bank).class_attributes
    assert (right != wrong).any()
    assert sorted(map(tuple, right.tolist())) == sorted(map(tuple, wrong.tolist()))
    again = ClassNameText(NgramEncoder(), "{class}", shuffle=0).described(bank).class_attributes
    np.testing.assert_array_equal(wrong, again)


def test_its_name_tells_whatever_changes_the_vectors():
    made = [
        ClassNameText(NgramEncoder(), "{class}"),
        ClassNameText(NgramEncoder(128), "{class}"),
        ClassNameText(NgramEncoder(longest=6), "{class}"),
        ClassNameText(NgramEncoder(), "a {class}"),
        ClassNameText(NgramEncoder(), ["{class}", "a {class}"]),
        ClassNameText(NgramEncoder(), "{class}", shuffle=0),
        ClassNameText(NgramEncoder(), "{class}", shuffle=1),
    ]
    assert len({text.name for text in made}) == len(made)


def test_a_second_run_reads_the_file(bank, tmp_path):
    encoder = Counting()
    first = ClassNameText(encoder, "{class}", cache=tmp_path).described(bank)
    second = ClassNameText(encoder, "{class}", cache=tmp_path).described(bank)
    assert encoder.asked == 1
    np.testing.assert_array_equal(first.class_attributes, second.class_attributes)
    assert [path.suffix for path in tmp_path.iterdir()] == [".npz"]


def test_other_texts_or_encoders_have_files_of_their_own(bank, tmp_path):
    for encoder, prompt in ((NgramEncoder(), "{class}"), (NgramEncoder(), "a {class}"), (NgramEncoder(64), "{class}")):
        made = ClassNameText(encoder, prompt, cache=tmp_path).described(bank).class_attributes
        np.testing.assert_array_equal(made, ClassNameText(encoder, prompt).described(bank).class_attributes)
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("damage", ["cut", "other", "empty"])
def test_a_damaged_file_is_made_anew(tmp_path, damage):
    encoder, texts = Counting(), ["king crab", "vase"]
    expected = kept(tmp_path, encoder.name, texts, encoder)
    (path,) = tmp_path.iterdir()
    if damage == "other":
        np.savez(path, vectors=np.zeros((2, 3), np.float32), texts=np.array(["a", "b"]), encoder=np.array(encoder.name))
    else:
        path.write_bytes(path.read_bytes()[: 40 if damage == "cut" else 0])
    np.testing.assert_array_equal(kept(tmp_path, encoder.name, texts, encoder), expected)
    np.testing.assert_array_equal(kept(tmp_path, encoder.name, texts, encoder), expected)
    assert encoder.asked == 2


@pytest.mark.parametrize("prompt", ["a photo", [], ["{class}", "a photo"]])
def test_a_prompt_needs_a_place_for_the_name(prompt):
    with pytest.raises(FewshotError, match=r"expected text with \{class\} in it"):
        ClassNameText(NgramEncoder(), prompt)


def test_a_shuffle_is_a_seed():
    with pytest.raises(FewshotError, match=r"semantics\.shuffle=-1; expected null or a seed"):
        ClassNameText(NgramEncoder(), shuffle=-1)


def test_attributes_of_a_data_set_that_has_none_are_refused(bank_of):
    with pytest.raises(FewshotError, match="bank/all comes without attributes of its classes"):
        OwnAttributes().described(bank_of())


def test_attributes_of_a_data_set_stay_as_they_are(bank):
    informed = ClassNameText(NgramEncoder(), "{class}").described(bank)
    assert OwnAttributes().described(informed) is informed
    assert informed.without_attributes().class_attributes is None
