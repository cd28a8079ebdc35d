"""What a row says about itself."""

import dataclasses
import inspect
import re

import pytest

from fewshot.leaderboard.row import Row

ORDER = [
    "when",
    "name",
    "data",
    "split",
    "pipeline",
    "bank_fingerprint",
    "backbone",
    "pretraining",
    "side_information",
    "learner",
    "head",
    "loss",
    "transductive",
    "train_protocol",
    "train_data",
    "way",
    "shot",
    "query",
    "imbalance",
    "episodes",
    "episodes_sha256",
    "test_seed",
    "seed",
    "accuracy",
    "ci95",
    "macro_accuracy",
    "ci_type",
    "seconds",
    "episodes_per_second",
    "device",
    "precision",
    "fewshot_version",
    "torch_version",
    "git_commit",
    "git_dirty",
    "config_hash",
    "run",
    "accuracies_sha256",
    "failed",
    "schema",
]


def a_row(**changes) -> Row:
    values = {field.name: field.type() if isinstance(field.type, type) else None for field in dataclasses.fields(Row)}
    return Row(**values | {"imbalance": "none"} | changes)


def test_the_order_of_columns_is_part_of_the_file_format():
    assert [field.name for field in dataclasses.fields(Row)] == ORDER


def test_every_field_is_explained():
    explained = re.findall(r"^ {4}(\w+): \S", inspect.cleandoc(Row.__doc__), flags=re.MULTILINE)
    assert explained == ORDER


def test_a_row_does_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        a_row().accuracy = 100.0


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"way": 5, "shot": "1", "query": 15}, "5-way 1-shot 15-query"),
        ({"way": 3, "shot": "1,5,5", "query": 10}, "3-way 1,5,5-shot 10-query"),
        ({"way": 5, "shot": "1", "query": 15, "imbalance": "dirichlet(2)"}, "5-way 1-shot 15-query dirichlet(2)"),
    ],
)
def test_test_protocol_reads_as_the_protocol_prints(changes, text):
    assert a_row(**changes).test_protocol == text
