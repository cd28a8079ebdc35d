"""What is known of classes beside their images, chosen where a user chooses it, and told by the row."""

import json

import pytest

from fewshot.leaderboard.table import read
from fewshot.training.checkpoint import load_weights

from .conftest import TRAIN_ONLY, only_run

FILM = ("learner=film", "semantics=text_ngrams", "head.size=16", "learner.steps=2", "learner.test_steps=3")
SHUFFLED = ("semantics=text_ngrams", "semantics.shuffle=3")
NAMES = "class names (ngrams-3-5-of-256, '{class}')"


def test_a_row_says_what_was_known_and_stands_in_a_group_of_its_own(fewshot, capsys):
    assert fewshot(*FILM) == 0
    assert fewshot("semantics=text_ngrams") == 0
    rows = read("leaderboard.csv")
    # Prototypes read no text: it is not shown to them, and their row does not claim it.
    assert rows.side_information.tolist() == [NAMES, "none"]
    assert rows.learner[0] == "maml(steps=2, test_steps=3, lr=0.1, adapts=head.metric, norm=running)"
    assert rows["head"][0] == "film_like(size=16)"
    assert load_weights(rows.run[0] + "/best.safetensors")[1]["side_information"] == NAMES


def test_a_test_without_adaptation_and_one_with_other_names(fewshot, tmp_path):
    assert fewshot(*FILM, "mode=train") == 0
    test = (f"checkpoint={only_run(tmp_path) / 'best.safetensors'}", "mode=test")
    for changes in ((), ("+learner.test_steps=0",), SHUFFLED, ("+head.fusion=0.5",)):
        assert fewshot(*test, *changes, without=(*TRAIN_ONLY, "experiment=debug")) == 0
    rows = read("leaderboard.csv")
    assert rows.side_information[:2].tolist() == [NAMES, NAMES]
    assert (
        rows.side_information[2]
        == f"class names (ngrams-3-5-of-256, '{{class}}', shuffled by seed 3); {NAMES} in training"
    )
    assert rows.learner[1].startswith("maml(steps=2, test_steps=0")
    assert rows["head"][3] == "film_like(size=16, fusion=0.5)"
    assert rows.config_hash.nunique() == 4


def test_where_the_text_is_kept_changes_no_number(fewshot):
    assert fewshot(*FILM) == 0
    assert fewshot(*FILM, "semantics.cache=elsewhere", "output=again") == 0
    rows = read("leaderboard.csv")
    assert rows.config_hash.nunique() == rows.accuracy.nunique() == 1


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ("head=film_like", "and nothing is; use semantics=text_minilm"),
        ("learner=film semantics=attributes", "folder/train comes without attributes of its classes"),
        ("learner=film semantics=text_ngrams semantics.prompt=photo", "semantics.prompt='photo'; expected text with {class}"),
        ("learner=film semantics=text_ngrams semantics.encoder.size=0", "semantics.encoder.size=0; expected at least 1"),
        ("learner=film semantics=text_ngrams semantics.shuffle=x", "semantics.shuffle='x'; expected a whole number or null"),
        ("training.frozen_backbone=true", "would leave random weights as they are; give init="),
        ("learner=maml training.frozen_backbone=true", "makes features of its own for each task"),
        ("backbone=pixels training.frozen_backbone=true augment=shift", "leave out augment=image_augment(shift="),
    ],
)  # fmt: skip
def test_what_cannot_be_known_is_one_line(fewshot, capsys, tmp_path, choice, words):
    assert fewshot(*choice.split(), without=("backbone.width=8",) if "pixels" in choice else ()) != 0
    error = capsys.readouterr().err.strip()
    assert words in error
    assert "\n" not in error
    assert not (tmp_path / "runs").exists()


def test_a_frozen_backbone_stays_as_it_was_and_the_rest_is_trained(fewshot, tmp_path):
    assert fewshot("mode=train") == 0
    first = only_run(tmp_path) / "best.safetensors"
    assert fewshot(*FILM, f"init={first}", "training.frozen_backbone=true", "augment=none", "output=frozen") == 0
    before, after = (load_weights(path)[0] for path in (first, next((tmp_path / "frozen").glob("*/best.safetensors"))))
    for name, value in before.items():
        if name.startswith("backbone."):
            assert (after[f"learner.{name}"] == value).all(), name
    assert (after["learner.head.metric.left"] != 0).any()
    row = json.loads(next((tmp_path / "frozen").glob("*/row.json")).read_text())
    assert row["side_information"] == NAMES


def test_the_share_of_prototypes_is_chosen_with_the_trained_weights(fewshot, tmp_path, capsys):
    assert fewshot(*FILM, "mode=train") == 0
    best = f"checkpoint={only_run(tmp_path) / 'best.safetensors'}"
    settings = {"without": (*TRAIN_ONLY, "experiment=debug")}
    assert fewshot(best, "mode=tune", "output=tuned", **settings) == 0
    (found,) = (json.loads(path.read_text()) for path in (tmp_path / "tuned").glob("*/tuned.json"))
    values = next((tmp_path / "tuned").glob("*/tuned.csv")).read_text().splitlines()
    assert [line.partition(",")[0] for line in values[1:]] == ["0.0", "0.25", "0.5", "0.75", "0.9"]
    # Validation in training was that of the weights as they are, without prototypes.
    kept = load_weights(only_run(tmp_path) / "best.safetensors")[1]["val_accuracy"]
    assert float(values[1].split(",")[1]) == pytest.approx(kept, abs=1e-6)
    assert found["accuracy"] >= kept
    assert fewshot(best, "mode=tune", "head=ridge", "output=other", **settings) != 0
    assert "learner.adapts=head.metric, of which there are no weights" in capsys.readouterr().err
