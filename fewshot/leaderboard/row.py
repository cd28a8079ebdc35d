"""`Row`: one line of a leaderboard."""

from dataclasses import dataclass

# 1: 36 columns, without `schema`. 2: `side_information`, `accuracies_sha256` and `schema`. 3: `failed`. All of them are read.
SCHEMA = 3


@dataclass(frozen=True)
class Row:
    """One meta-test, with all that is needed to believe, repeat and compare it; or a job of a sweep that failed.

    Args:
        when: UTC, ISO 8601, to the second.
        name: of the run.
        data: name of the data set.
        split: the part of it that was tested.
        pipeline: how its images were made from files; other pipelines are other images.
        bank_fingerprint: sha256 of the images and labels.
        backbone: what embeds an image; parameters that differ from their defaults stand in brackets.
        pretraining: data the backbone saw before meta-training, or `none`; a word such as
            `imagenet1k (leaks novel classes)` keeps the row apart from those that saw no test class.
        side_information: what was known of classes beside images, in training or in the test, such as the name of a text
            encoder and its prompt, or `none`; rows with and without it are kept apart.
        learner: what was trained and scored, written as `backbone`; behind `with` what made new tasks in training.
        head: features to scores, written as `backbone`.
        loss: what training minimised, written as `backbone`.
        transductive: whether the queries of an episode were used jointly.
        train_protocol: episodes trained on, such as `5-way 1-shot 15-query`; empty without training.
        train_data: what it was trained on, such as `mini_imagenet/train (ravi84)`; empty without training.
        way: classes of a test episode.
        shot: support items of each class, `1`, or `1,5,5` for one number per class.
        query: query items per class; the mean over classes where they are imbalanced.
        imbalance: of the query items over classes, `none` or `dirichlet(alpha)`.
        episodes: how many were tested.
        episodes_sha256: hash of all drawn indices; equal hashes are identical tasks.
        test_seed: chooses the test episodes.
        seed: of initial weights and training episodes.
        accuracy: mean over episodes, percent.
        ci95: half-width of its 95% interval, percent points; NaN for a single episode.
        macro_accuracy: mean over episodes of the mean over classes, percent; that of `accuracy` where queries are balanced.
        ci_type: `t` is Student's t over episodes, which leaves out training variance.
        seconds: of the meta-test, embedding included.
        episodes_per_second: of the meta-test, embedding included.
        device: what computed, by its model name.
        precision: numbers that training computed in, `32`, `tf32`, `bf16` or `16`; tests compute in 32 bits.
        fewshot_version: of this package.
        torch_version: of torch.
        git_commit: of the checkout; empty outside one.
        git_dirty: whether files differed from that commit; None when unknown.
        config_hash: sha256 of the configuration that decides the numbers.
        run: path of the run's folder.
        accuracies_sha256: hash of the accuracies of all episodes, as the file `test_accuracies*.npy` of the run has them.
        failed: why a job of a sweep has no numbers, in one line; empty for a meta-test. Such a row has no accuracy, and numbers
            that its configuration does not tell are None. No table, rank or test has it.
        schema: version of these columns; empty in rows older than version 2.
    """

    when: str
    name: str
    data: str
    split: str
    pipeline: str
    bank_fingerprint: str
    backbone: str
    pretraining: str
    side_information: str
    learner: str
    head: str
    loss: str
    transductive: bool
    train_protocol: str
    train_data: str
    way: int
    shot: str
    query: int
    imbalance: str
    episodes: int
    episodes_sha256: str
    test_seed: int
    seed: int
    accuracy: float
    ci95: float
    macro_accuracy: float
    ci_type: str
    seconds: float
    episodes_per_second: float
    device: str
    precision: str
    fewshot_version: str
    torch_version: str
    git_commit: str
    git_dirty: bool | None
    config_hash: str
    run: str
    accuracies_sha256: str
    failed: str = ""
    schema: int = SCHEMA

    @property
    def test_protocol(self) -> str:
        """`5-way 1-shot 15-query`, with the imbalance behind it where there is one."""
        uneven = "" if self.imbalance == "none" else f" {self.imbalance}"
        return f"{self.way}-way {self.shot}-shot {self.query}-query{uneven}"
