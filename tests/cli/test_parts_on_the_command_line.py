"""Heads, losses and classifiers chosen where a user chooses them."""

import json

import pytest
import timm
import torch

from fewshot.cli import run_row
from fewshot.leaderboard.table import read
from fewshot.training.checkpoint import load_weights

from .conftest import SMALL, TRAIN_ONLY, only_run

CLASSIFIER = ("learner=classifier", "head=nearest_centroid", "training.epochs=2", "training.batch_size=14", "training.validate_every=1")  # fmt: skip
EPISODIC = ("experiment=debug",)
CONV4 = ("backbone.width=8",)


@pytest.mark.parametrize(
    ("choice", "column", "text"),
    [
        ("head=matching head.scale=100 head.relu=true", "head", "matching(scale=100, relu=True)"),
        ("head=matching head.context_steps=2", "head", "matching(context_steps=2)"),
        ("head=ridge", "head", "ridge"),
        ("head=feat", "head", "feat"),
        ("loss=susana", "loss", "weighted_sum(average=True, terms={'cross_entropy': 1.0, 'proto_triplet': 1.0, 'icnn': 1.0})"),
        ("loss=multi_similarity loss.alpha=3.5", "loss", "pairs(alpha=3.5, beta=50.0, base=0.5)"),
        ("loss=icnn loss.variant=query", "loss", "icnn(variant=query)"),
        ("loss=multi_similarity loss.pairs=cross loss.mining=0.1", "loss", "pairs(pairs=cross, mining=0.1, alpha=2.0, beta=50.0, base=0.5)"),
        ("loss=proxy_anchor", "loss", "proxies(margin=0.1, alpha=32.0)"),
        ("pooling=generalised_sum pooling.share=0.5", "backbone", "conv4(width=8), generalised_sum(share=0.5)"),
        ("pooling=multi_scale head=multi_scale", "backbone", "conv4(width=8), multi_scale"),
        ("learner=maml learner.steps=1 learner.rates=per_layer", "learner", "maml(steps=1, rates=per_layer)"),
        ("learner=anil learner.inner_loss={loss:cross_entropy,label_smoothing:0.1}", "learner", "maml(lr=0.1, adapts=head, inner_loss={'loss': 'cross_entropy', 'label_smoothing': 0.1}, norm=running)"),
        ("learner=proto_maml learner.steps=1", "head", "linear(start=prototypes)"),
        ("learner=metric_maml episodes.train.shot=2 episodes.val.shot=2 episodes.test.shot=2", "head", "prototype(distance=mahalanobis, learn_temperature=True)"),
        ("augment=resized_crop_jitter augment.erase=0.5", "head", "prototype"),
        ("backbone=wide_resnet backbone.depth=10 backbone.widen=1", "backbone", "wide_resnet(depth=10, widen=1)"),
    ],
)  # fmt: skip
def test_each_choice_trains_and_is_in_the_row(fewshot, choice, column, text):
    assert fewshot(*choice.split(), without=CONV4 if "backbone=" in choice else ()) == 0
    assert read("leaderboard.csv")[column][0] == text


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ("learner=maml head=prototype", "learner.split=items leaves no support to PrototypeHead"),
        ("learner=maml learner.inner_loss=triplets", "unknown loss 'triplets'"),
        ("learner=maml learner.inner_loss=[icnn]", "learner.inner_loss=['icnn']; expected a loss such as icnn"),
        ("learner=maml learner.steps=many", "learner.steps='many'; expected a whole number"),
        ("learner=maml learner.learner=null", "learner.learner=None; expected a learner with a _target_"),
        ("learner=maml episodes.test.way=6", "tasks of 6 classes for a linear head of 5"),
        ("learner=metric_maml", "split=leave_one_out needs at least 2 shots"),
        ("learner=maml learner.test_steps=0 head=prototype", "learner.split=items leaves no support to PrototypeHead"),
        ("learner=maml trainer.compile=true", "torch.compile has no second derivatives, which MAML needs"),
        (
            "schedule.every=1 episodes.train.episodes=200",
            "StepDecay leaves 8e-31 of the learning rate after 100 of 200 episodes",
        ),
    ],
)
def test_what_cannot_be_adapted_is_one_line(fewshot, capsys, choice, words):
    assert fewshot(*choice.split()) != 0
    error = capsys.readouterr().err.strip()
    assert words in error
    assert len(error.splitlines()) == 1


def test_losses_are_added_up_by_name_with_options(fewshot, tmp_path):
    terms = "loss.terms={cross_entropy: 1, inner: {loss: icnn, weight: 0.5, variant: support}, alignment: 0.1}"
    # The support variant needs three items or more: five classes of one shot have them.
    assert fewshot("loss=sum", terms) == 0
    curve = (only_run(tmp_path) / "metrics.csv").read_text().splitlines()[0]
    assert {"cross_entropy", "icnn_support", "alignment"} <= set(curve.split(","))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("loss=sum", "loss.terms={fullicn: 1}"), "unknown loss 'fullicn'"),
        (("loss=sum", "loss.terms={icn: 1}"), "did you mean icnn?"),
        (("loss=sum",), "loss.terms is empty"),
        (("loss=sum", "loss.terms=[icnn]"), "loss.terms=['icnn']; expected losses with weights"),
        (("head=logistic",), "LogisticHead scores features and passes no gradient on"),
        (("head=laplacian_shot",), "cl2n features need the mean of the base classes"),
        (("learner=classifier", "head=feat"), "feat has weights of its own, which were not trained"),
        (("learner=classifier", "loss=icnn"), "loss=icnn: ClassifierLearner takes no loss; leave it out"),
        (("classifier=cosine",), "classifier=cosine: MetricLearner takes no classifier"),
        (("learner._target_=no.such.Learner", "loss=icnn"), "cannot make no.such.Learner"),
        (("episodes.test.dirichlet=-1",), "episodes.test: dirichlet=-1.0; expected"),
        (("augment.flip=no",), "augment.flip='no'; expected true or false"),
        (("augment.shift=1.5",), "augment.shift=1.5; expected a whole number"),
        (("head.temperature=abc",), "head.temperature='abc'; expected a number"),
        (("backbone=resnet12", "backbone.drop_size=4"), "backbone.drop_size=4; expected an odd number"),
        (
            ("loss=sum", "loss.terms={icnn: {varaint: full}}"),
            "loss.terms.icnn has no option 'varaint' (known: variant,",
        ),
        (("loss=sum", "loss.terms={icnn: much}"), "loss.terms.icnn='much'; expected a weight"),
        (("head=relation",), "compares maps, but this backbone pools to one position"),
        (("learner=classifier", "training=default"), "trained in epochs; use training=classification"),
        (("training=classification",), "trained in episodes; use training=default"),
        (("init=none.safetensors",), "no checkpoint at none.safetensors"),
        (
            ("training.rates={heads: 10}",),
            "training.rates names heads, of which there are no weights; expected backbone",
        ),
        (("backbone=resnet12",), "unknown key backbone.width: the backbone that was chosen has no width"),
        (("head=multi_scale",), "weighs the stages of a backbone; use pooling=multi_scale"),
        (("augment=resized_crop", "augment.shift=2"), "augment.shift and augment.crop_scale are two ways to crop"),
    ],
)
def test_what_does_not_go_together_is_one_line(fewshot, tmp_path, capfd, arguments, words):
    without = ("experiment=debug",) if any("training=" in a or "learner=" in a for a in arguments) else ()
    without += CONV4 if "backbone=resnet12" in arguments and "backbone.drop_size=4" in arguments else ()
    assert fewshot(*arguments, without=without) == 2
    error = capfd.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_a_classifier_is_trained_in_epochs_and_scored_by_any_head(fewshot, tmp_path):
    assert fewshot(*CLASSIFIER, without=EPISODIC) == 0
    row = read("leaderboard.csv").iloc[0]
    assert (row.learner, row.loss) == ("classifier", "linear")
    # 56 images in each of two epochs.
    assert row.train_protocol == "classification of 112 images"
    best = only_run(tmp_path) / "best.safetensors"
    weights, facts = load_weights(best)
    assert weights["classifier.weight"].shape[0] == facts["classes"] == 7
    heads = ["ridge", "logistic", "matching", "nearest_centroid", "finetune", "prototype"]
    for head in heads:
        assert fewshot("mode=test", f"checkpoint={best}", f"head={head}", without=(*TRAIN_ONLY, *EPISODIC)) == 0
    rows = read("leaderboard.csv")
    assert rows["head"].tolist()[1:] == heads
    # The base mean came with the weights.
    assert rows.accuracy[4] == rows.accuracy[0]


def test_episodic_training_can_start_from_a_classifier(fewshot, tmp_path):
    assert fewshot(*CLASSIFIER, "mode=train", "classifier=cosine", without=EPISODIC) == 0
    best = only_run(tmp_path) / "best.safetensors"
    # A learning rate of next to nothing: the weights stay what they were.
    still = ("optimizer.lr=1e-12", "trainer.precision=32")
    assert fewshot(f"init={best}", *still, "name=meta") == 0
    rows = read("leaderboard.csv")
    before = "folder/train (crop28), classification of 112 images"
    assert rows.pretraining.tolist() == [before]
    (meta,) = (path for path in (tmp_path / "runs").iterdir() if path.name.startswith("meta"))
    assert load_weights(meta / "best.safetensors")[1]["pretraining"] == before
    assert json.loads((meta / "row.json").read_text())["train_protocol"] == "5-way 1-shot 3-query"
    started, trained = load_weights(best)[0], load_weights(meta / "last.safetensors")[0]
    for name, value in started.items():
        if name.startswith("backbone.") and value.is_floating_point() and "running" not in name:
            torch.testing.assert_close(trained[name], value)
    assert fewshot(f"init={best}", "backbone.width=4") == 2


def test_weights_learned_by_gradient_start_another_training_and_are_scored_by_another_head(fewshot, tmp_path):
    assert fewshot("learner=maml", "learner.lr=0.01", "name=maml") == 0
    best = only_run(tmp_path) / "best.safetensors"
    # NIL (Raghu et al. 2020): no step, and prototypes instead of the layer. Keys are those of what was trained.
    nil = ("learner.test_steps=0", "head=prototype", "head.distance=cosine", "name=nil")
    assert fewshot("mode=test", f"checkpoint={best}", *nil, without=TRAIN_ONLY) == 0
    assert fewshot(f"init={best}", "optimizer.lr=1e-12", "name=meta") == 0
    rows = read("leaderboard.csv")
    assert rows.learner.tolist() == ["maml(lr=0.01)", "maml(test_steps=0, lr=0.01)", "metric_learner"]
    assert rows["head"].tolist() == ["linear", "prototype(distance=cosine)", "prototype"]
    assert rows.pretraining[2] == "folder/train (crop28), 5-way 1-shot 3-query"
    (meta,) = (path for path in (tmp_path / "runs").iterdir() if path.name.startswith("meta"))
    trained, started = load_weights(meta / "best.safetensors")[0], load_weights(best)[0]
    name = "backbone.blocks.3.0.weight"
    torch.testing.assert_close(trained[name], started[f"learner.{name}"])
    # Its BatchNorm had the images of each task; a frozen one has nothing to go by.
    assert fewshot(f"init={best}", "training.frozen_backbone=true", "augment=none", "name=frozen") == 2


def test_a_pooling_may_be_put_on_a_backbone_that_was_trained_without(fewshot, tmp_path):
    assert fewshot(*CLASSIFIER, "mode=train", without=EPISODIC) == 0
    best = only_run(tmp_path) / "best.safetensors"
    assert fewshot(f"init={best}", "pooling=multi_scale", "head=multi_scale", "optimizer.lr=1e-12", "name=meta") == 0
    (meta,) = (path for path in (tmp_path / "runs").iterdir() if path.name.startswith("meta"))
    trained = load_weights(meta / "best.safetensors")[0]
    torch.testing.assert_close(
        trained["backbone.backbone.blocks.0.0.weight"], load_weights(best)[0]["backbone.blocks.0.0.weight"]
    )
    # Its test finds the pooling in the weights, where it cannot be changed any more.
    again = ("mode=test", f"checkpoint={meta / 'best.safetensors'}")
    assert fewshot(*again, without=(*TRAIN_ONLY, *EPISODIC)) == 0
    rows = read("leaderboard.csv")
    assert rows.backbone.tolist() == ["conv4(width=8), multi_scale"] * 2
    assert rows.accuracy[0] == rows.accuracy[1]
    assert fewshot(*again, "pooling=flatten", without=(*TRAIN_ONLY, *EPISODIC)) == 2


def test_classes_of_the_run_that_training_starts_from_are_not_tested(fewshot, tmp_path, images, capfd):
    assert fewshot(*CLASSIFIER, "mode=train", without=EPISODIC) == 0
    best = only_run(tmp_path) / "best.safetensors"
    # Other data whose test classes are those that the classifier was trained on.
    swapped = tmp_path / "swapped"
    swapped.mkdir()
    for split, source in (("train", "test"), ("val", "val"), ("test", "train")):
        (swapped / split).symlink_to(images / source)
    arguments = (f"init={best}", "data.root=swapped", "data.prepared=elsewhere")
    assert fewshot(*arguments, without=("data.root=images", "data.prepared=prepared")) == 2
    assert "classes of folder/train are in folder/test too" in capfd.readouterr().err


def test_a_head_with_weights_of_its_own_is_not_tested_untrained(fewshot, tmp_path, capfd):
    assert fewshot("mode=train") == 0
    best = only_run(tmp_path) / "best.safetensors"
    again = ("mode=test", f"checkpoint={best}")
    for head in ("head=feat", "heads=[ridge,feat]"):
        assert fewshot(*again, head, without=(*TRAIN_ONLY, *EPISODIC)) == 2
        assert "feat has weights of its own, which were not trained" in capfd.readouterr().err


def test_weights_of_imagenet_are_marked_where_they_saw_the_test_classes(fewshot, tmp_path, monkeypatch):
    made, fetched = timm.create_model, []

    def create(*args, pretrained, **kwargs):
        fetched.append(pretrained)
        return made(*args, pretrained=False, **kwargs)

    monkeypatch.setattr(timm, "create_model", create)
    model = ("backbone=timm", "backbone.model=resnet10t", "backbone.pretrained=true")
    assert fewshot(*model, "data.size=64", "name=one", without=CONV4) == 0
    monkeypatch.setattr(run_row, "in_imagenet", lambda data: data == "folder")
    assert fewshot(*model, "data.size=64", "name=two", without=CONV4) == 0
    told = "timm resnet10t.c3_in1k"
    assert read("leaderboard.csv").pretraining.tolist() == [told, f"{told} (leaks novel classes)"]
    assert all(fetched)
    # A test has the weights of its file, and fetches none.
    fetched.clear()
    best = next((tmp_path / "runs").glob("two-*")) / "best.safetensors"
    assert fewshot("mode=test", f"checkpoint={best}", without=(*TRAIN_ONLY, *EPISODIC, *CONV4)) == 0
    assert not any(fetched)
    assert read("leaderboard.csv").pretraining.iloc[-1] == f"{told} (leaks novel classes)"


def test_the_small_arguments_name_what_is_left_out():
    assert {*EPISODIC, *CONV4} <= set(SMALL)


def test_hybrid_consistency_takes_any_strong_augmentation_and_its_row_says_which(fewshot, tmp_path):
    words = ("learner=hybrid_consistency", "augment@learner.strong=views_drawings", *CLASSIFIER[2:])
    assert fewshot(*words, "learner.warmup=20", "unbalanced=null", without=EPISODIC) == 0
    row = read("leaderboard.csv").iloc[0]
    assert row.learner.startswith("hybrid_consistency(strong=image_augment(crop_scale=[0.6, 1.4], flip=True,")
    assert (row["head"], bool(row.transductive)) == ("prototype_adaptation", True)
    best = only_run(tmp_path) / "best.safetensors"
    assert int(load_weights(best)[0]["images_trained"]) > 0
    assert fewshot("mode=test", f"checkpoint={best}", "head=prototype", without=(*TRAIN_ONLY, *EPISODIC)) == 0


def test_what_is_not_used_may_be_taken_away(fewshot):
    assert fewshot("~classifier") == 0


def test_a_loss_is_refused_by_a_learner_that_takes_none(fewshot, tmp_path, capsys, monkeypatch):
    (tmp_path / "lonely.py").write_text(
        "from fewshot import Learner\n\n\nclass Lonely(Learner):\n    def __init__(self, backbone):\n        super().__init__()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert fewshot("learner._target_=lonely.Lonely", "loss=icnn") == 2
    assert "loss=icnn: Lonely takes no loss" in capsys.readouterr().err
