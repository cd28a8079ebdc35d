"""New tasks and few tasks, chosen where a user chooses them: they train, rows tell of them, and the same command gives the same."""

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from fewshot.cli import recipe_text, run
from fewshot.leaderboard.table import read
from fewshot.resources import conf_folder
from fewshot.training.checkpoint import load_weights

from .conftest import TRAIN_ONLY, only_run

FOUR = "training.tasks_per_step=4"


@pytest.mark.parametrize(
    ("choice", "column", "text"),
    [
        (f"task_augmentation=mlti {FOUR}", "learner", "metric_learner with mlti"),
        (f"task_augmentation=mlti task_augmentation.levels=[0,1,2] task_augmentation.beta=[0.5,0.5] {FOUR}", "learner", "metric_learner with mlti(levels=[0, 1, 2], beta=[0.5, 0.5])"),
        (f"task_augmentation=mlti task_augmentation.levels=[0,3] learner=maml learner.steps=1 {FOUR}", "learner", "maml(steps=1) with mlti(levels=[0, 3])"),
        (f"task_augmentation=mlti task_augmentation.levels=[2] learner=anil {FOUR}", "learner", "maml(lr=0.1, adapts=head, norm=running) with mlti(levels=[2])"),
        ("task_augmentation=task_mixup", "learner", "metric_learner with task_mixup"),
        ("task_augmentation=class_rotation task_augmentation.distinct_base=false", "learner", "metric_learner with class_rotation(distinct_base=False)"),
        ("task_augmentation=interval_bounds task_augmentation.weighting=fixed", "learner", "metric_learner with interval_bounds(weighting=fixed)"),
        ("task_augmentation=mlti task_augmentation.cross=0 pooling=average", "learner", "metric_learner with mlti(cross=0)"),
        ("data.base_classes=6", "train_data", "folder/train[6 of 7 classes, seed 0] (crop28)"),
        ("data.base_classes=[train1,train2,train3,train4,train6]", "train_data", "folder/train[5 named, 3777fc] (crop28)"),
        ("data.base_classes={number:5,seed:3}", "train_data", "folder/train[5 of 7 classes, seed 3] (crop28)"),
        ("episodes.train.pool=5", "train_protocol", "5-way 1-shot 3-query, 5 tasks"),
    ],
)  # fmt: skip
def test_each_choice_trains_and_is_in_the_row(fewshot, choice, column, text):
    assert fewshot(*choice.split()) == 0
    assert read("leaderboard.csv")[column][0] == text


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ("task_augmentation=mlti", "MLTI mixes the tasks of a step, and here each device has 1; use training.tasks_per_step=4"),
        (f"task_augmentation=mlti task_augmentation.levels=[5] {FOUR}", "no level 5 in Conv4; use 0 to 4"),
        (f"task_augmentation=mlti task_augmentation.beta=[2.0] {FOUR}", "beta=[2.0]; expected two positive numbers"),
        ("task_augmentation=mlti task_augmentation.cross=often", "task_augmentation.cross='often'; expected a number"),
        (f"task_augmentation=mlti loss=proxy_anchor {FOUR}", "MLTI makes classes that are no base classes, of which this loss has proxies"),
        ("task_augmentation=interval_bounds learner=maml", "IntervalBounds makes others; use task_augmentation=mlti"),
        ("task_augmentation=interval_bounds task_augmentation.blocks=2 pooling=multi_scale head=multi_scale", "IntervalBounds: there is no level 2 in Pooled"),
        ("task_augmentation=mixup", "mixup"),
        (f"task_augmentation=mlti episodes.train.dirichlet=2 {FOUR}", "with episodes.train.dirichlet=2 some classes have no queries"),
        (f"task_augmentation=mlti learner=film semantics=text_ngrams {FOUR}", "MLTI makes classes that are no base classes, and this learner compares images with what is known"),
        ("data.base_classes={number:null}", "names neither a list nor a number of classes"),
        ("data.base_classes={number:6,seed:400000000000000000000000000000000000000}", "expected a whole number, below 2^63"),
        ("learner=anil loss=multi_similarity episodes.train.shot=2", "a loss over pairs of features has no gradient by head"),
        ("learner=reptile loss=metrix episodes.train.shot=2", "of which one shot has none of a class"),
        ("learner=maml loss=multi_similarity", "of which one shot has none of a class"),
        ("learner=maml loss=alignment", "of which one shot has none of a class"),
        ("learner=anil loss=alignment episodes.train.shot=2", "a loss over pairs of features has no gradient by head"),
        ("learner=maml learner.tasks=vmap loss=alignment episodes.train.shot=2", "learner.tasks=vmap cannot take a loss over pairs"),
        ("task_augmentation=interval_bounds task_augmentation.weight=0.5", "goes with task_augmentation.weighting=fixed"),
        ("learner=classifier training=classification episodes.train.pool=4", "is trained on images, not on episodes"),
        ("learner=maml learner.tasks=vmap loss=multi_similarity", "learner.tasks=vmap cannot take a loss over pairs"),
        ("loss=metrix loss.alpha=0", "loss.alpha=0.0; expected a number above 0"),
        ("loss=metrix loss.mixing=2", "loss.mixing=2; expected two positive numbers"),
        ("data.base_classes=8", "has number 8; expected 1 to 7"),
        ("data.base_classes=4", "way=5, but folder/train[4 of 7 classes, seed 0] has 4 classes"),
        ("data.base_classes=[train9]", "names 'train9', which is no class of folder/train"),
        ("data.base_classes=mini_imagenet_s", "no list 'mini_imagenet_s' for folder"),
        ("episodes.train.pool=0", "pool=0; expected at least 1"),
        ("+episodes.test.pool=10", "episodes.test.pool=10; a pool is for training"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_line_and_leaves_nothing(fewshot, tmp_path, capfd, choice, words):
    assert fewshot(*choice.split()) != 0
    error = capfd.readouterr().err.strip()
    assert words in error
    assert len(error.splitlines()) == 1 or "mixup" in choice
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "choice", [f"task_augmentation=mlti task_augmentation.levels=[0,1] {FOUR}", "task_augmentation=interval_bounds"]
)
def test_a_run_that_was_cut_off_goes_on_with_the_same_tasks(fewshot, tmp_path, monkeypatch, choice):
    choice = (*choice.split(), "name=one", "episodes.train.episodes=40", "training.validate_every=20")
    assert fewshot(*choice, "output=whole") == 0
    train = run.meta_train

    def cut(*given, schedule, **options):
        def stops(done, total):
            if done >= 28:
                raise KeyboardInterrupt
            return schedule(done, total)

        return train(*given, schedule=stops, **options)

    monkeypatch.setattr(run, "meta_train", cut)
    assert fewshot(*choice, "output=cut") != 0
    monkeypatch.setattr(run, "meta_train", train)
    assert fewshot(*choice, "output=cut", "resume=true") == 0
    files = [next((tmp_path / name).glob("*/last.safetensors")) for name in ("whole", "cut")]
    (whole, _), (resumed, _) = map(load_weights, files)
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())
    accuracies = [np.load(file.parent / "test_accuracies.npy") for file in files]
    assert np.array_equal(*accuracies)


def test_a_classifier_takes_no_new_tasks(fewshot, capfd):
    words = ("learner=classifier", "head=nearest_centroid", "task_augmentation=class_rotation")
    assert fewshot(*words, without=("experiment=debug",)) != 0
    assert "task_augmentation: ClassifierLearner takes none; use learner=metric or maml" in capfd.readouterr().err


def test_a_test_of_a_checkpoint_tells_what_it_was_trained_with(fewshot, tmp_path, capfd):
    assert fewshot("task_augmentation=interval_bounds", "data.base_classes=6", "episodes.train.pool=8") == 0
    best = only_run(tmp_path) / "best.safetensors"
    test = (f"checkpoint={best}", "mode=test", "name=again")
    assert fewshot(*test, without=TRAIN_ONLY) == 0
    rows = read("leaderboard.csv")
    for column in ("learner", "train_data", "train_protocol", "accuracy"):
        assert rows[column][0] == rows[column][1]
    for key in ("task_augmentation=mlti", "data.base_classes=5", "episodes.train.pool=3"):
        assert fewshot(*test, key, without=TRAIN_ONLY) != 0
        assert "belongs to training" in capfd.readouterr().err


def test_without_any_of_it_a_configuration_has_the_hash_that_it_had():
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        plain, few, pooled, mixed, consistent = (
            compose("config", overrides=words)
            for words in (
                [],
                ["data.base_classes=6"],
                ["episodes.train.pool=6"],
                ["task_augmentation=mlti"],
                ["learner=hybrid_consistency"],
            )
        )
    # As in files of weights that were made before there were these keys.
    old = OmegaConf.create(OmegaConf.to_container(plain, resolve=False))
    del old.task_augmentation, old.data.base_classes, old.episodes.train.pool, old.augment.size
    hashes = [recipe_text.config_hash(config) for config in (plain, few, pooled, mixed)]
    assert recipe_text.config_hash(old) == hashes[0]
    assert len(set(hashes)) == 4
    assert recipe_text.describe_learner(old) == "metric_learner"
    old = OmegaConf.create(OmegaConf.to_container(consistent, resolve=False))
    del old.learner.strong.size
    assert recipe_text.config_hash(old) == recipe_text.config_hash(consistent)


def test_a_checkpoint_without_the_keys_is_tested(fewshot, tmp_path):
    assert fewshot("~task_augmentation") == 0
    assert fewshot(f"checkpoint={only_run(tmp_path) / 'best.safetensors'}", "mode=test", without=TRAIN_ONLY) == 0
    rows = read("leaderboard.csv")
    assert list(rows["learner"]) == ["metric_learner"] * 2
    assert rows["accuracy"][0] == rows["accuracy"][1]
