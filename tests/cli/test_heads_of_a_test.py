"""One backbone under many heads in one command, balanced and uneven."""

import json

import numpy as np
import pytest

from fewshot.cli import run_tests as runs
from fewshot.leaderboard.table import read

from .conftest import TRAIN_ONLY, only_run

EPISODIC = ("experiment=debug",)
CLASSIFIER = (
    "learner=classifier",
    "head=nearest_centroid",
    "training.epochs=1",
    "training.batch_size=14",
    "mode=train",
)
HEADS = "heads=[own,prototype,laplacian_shot,{head: tim, temperature: 10},{head: tim, solver: gd, iterations: 20}]"


@pytest.fixture
def again(fewshot, tmp_path):
    """The command that tests a trained classifier."""
    assert fewshot(*CLASSIFIER, without=EPISODIC) == 0
    best = only_run(tmp_path) / "best.safetensors"

    def test(*arguments):
        return fewshot("mode=test", f"checkpoint={best}", *arguments, without=(*TRAIN_ONLY, *EPISODIC))

    return test


def test_each_head_gets_a_row_on_the_same_episodes_balanced_and_uneven(again, tmp_path, monkeypatch):
    embedded, made = [], runs.embed_bank

    def counting(learner, bank, *rest, **options):
        embedded.append(bank.name)
        return made(learner, bank, *rest, **options)

    monkeypatch.setattr(runs, "embed_bank", counting)
    assert again(HEADS, "episodes.test.episodes=40", "name=many") == 0
    rows = read("leaderboard.csv")
    heads = [
        "nearest_centroid",
        "prototype",
        "laplacian_shot(features=cl2n)",
        "tim(features=l2n, temperature=10)",
        "tim(features=l2n, solver=gd, iterations=20)",
    ]
    assert rows["head"].tolist() == heads * 2
    assert rows.transductive.tolist() == [False, False, True, True, True] * 2
    assert rows.imbalance.tolist() == ["none"] * 5 + ["dirichlet(2)"] * 5
    assert rows.episodes_sha256[:5].nunique() == rows.episodes_sha256[5:].nunique() == 1
    assert rows.episodes_sha256[0] != rows.episodes_sha256[5]
    assert (rows.macro_accuracy == rows.accuracy)[:5].all()
    assert (rows.macro_accuracy != rows.accuracy)[5:].all()
    # Once, for all heads and both protocols.
    assert embedded == ["folder"]
    (folder,) = (path for path in (tmp_path / "runs").iterdir() if path.name.startswith("many"))
    names = ["-own", "-prototype", "-laplacian_shot", "-tim", "-tim~2"]
    labels = names + [f"{name}-dirichlet2" for name in names]
    for label, accuracy in zip(labels, rows.accuracy, strict=True):
        assert json.loads((folder / f"row{label}.json").read_text())["accuracy"] == accuracy
        assert 100 * np.load(folder / f"test_accuracies{label}.npy").mean() == pytest.approx(accuracy)


def test_a_row_among_many_is_the_row_of_that_head_alone(again):
    assert again(HEADS, "episodes.test.episodes=40") == 0
    assert again("head=tim", "head.temperature=10", "episodes.test.episodes=40") == 0
    assert again("episodes.test.episodes=40") == 0
    many, alone = read("leaderboard.csv")[:10], read("leaderboard.csv")[10:].reset_index(drop=True)
    # A transductive head is tested on uneven queries too, an inductive one alone is not.
    assert alone.imbalance.tolist() == ["none", "dirichlet(2)", "none"]
    assert alone.accuracy.tolist() == [many.accuracy[3], many.accuracy[8], many.accuracy[0]]


def test_uneven_tests_can_be_left_out_or_changed(again):
    assert again("heads=[soft_kmeans]", "unbalanced=null", "episodes.test.episodes=5") == 0
    assert again("heads=[soft_kmeans]", "unbalanced=0.5", "episodes.test.episodes=5") == 0
    assert again("heads=[soft_kmeans]", "episodes.test.dirichlet=3", "episodes.test.episodes=5") == 0
    assert read("leaderboard.csv").imbalance.tolist() == ["none", "none", "dirichlet(0.5)", "dirichlet(3)"]


def test_every_transductive_head_scores_the_features_of_any_learner(fewshot):
    # Trained as Prototypical Networks, which know the mean of their base features as well.
    heads = "bd_cspn,label_propagation,laplacian_shot,prototype_adaptation,pt_map,slk,soft_kmeans,tim"
    slow = "{head: alpha_tim, iterations: 10}"
    assert fewshot(f"heads=[{heads},{slow}]", "unbalanced=null") == 0
    rows = read("leaderboard.csv")
    assert len(rows) == 9
    assert rows.transductive.all()
    assert rows.accuracy.min() > 15


def test_label_propagation_is_trained_in_episodes(fewshot):
    assert fewshot("head=label_propagation", "head.learn_sigma=true", "unbalanced=null") == 0
    row = read("leaderboard.csv").iloc[0]
    assert (row["head"], row.transductive) == ("label_propagation(learn_sigma=True, self_loops=True)", True)


def test_any_head_takes_any_features(fewshot):
    assert fewshot("head=ridge", "head.features=l2n") == 0
    assert read("leaderboard.csv")["head"][0] == "ridge(features=l2n)"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("heads=[prototypes]",), "unknown head 'prototypes'; did you mean prototype?"),
        (("heads=[{head: tim, tau: 3}]",), "heads.tim has no option 'tau' (known: features, solver"),
        (("heads=prototype",), "heads='prototype'; expected a list such as"),
        (("heads=[]",), "heads=[]; expected a list"),
        (("heads=[tim]", "unbalanced=-1"), "dirichlet=-1"),
        (("head=prototype", "head.features=l3n"), "features=l3n; expected one of un, l2n, cl2n, power"),
        (("heads=[{head: tim, weights: [1.0, 2.0]}]",), "head.weights=[1.0, 2.0]; expected three numbers"),
    ],
)
def test_what_cannot_be_is_one_line_before_anything_is_written(fewshot, tmp_path, capfd, arguments, words):
    assert fewshot(*arguments) == 2
    error = capfd.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not (tmp_path / "runs").exists()
