"""A control for heads of attributes: the rows of the test classes' attributes exchanged at random, which must leave chance.

`python scripts/reproduce/shuffled_attributes.py CHECKPOINT --way 50`. Episodes are those of `episodes.test` of the checkpoint, with shot 0.
"""

import argparse
from dataclasses import replace

import torch
from omegaconf import OmegaConf

from fewshot import evaluate, open_learner
from fewshot.cli.recipe import make_protocol
from fewshot.data.catalog import made_dataset
from fewshot.evaluation.embedding import embed_bank
from fewshot.training.checkpoint import load_facts

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("checkpoint")
parser.add_argument("--way", type=int, nargs="+", default=[50, 5])
parser.add_argument("--seeds", type=int, default=10)
parser.add_argument("--episodes", type=int, default=100)
parser.add_argument("--threads", type=int, default=1)
options = parser.parse_args()

torch.set_num_threads(options.threads)
config = OmegaConf.create(load_facts(options.checkpoint)["config"] | {"output": "runs"})
bank = made_dataset(config.data).bank("test")
learner = open_learner(options.checkpoint, bank)
embedded = embed_bank(learner, bank)
for way in options.way:
    protocol = replace(make_protocol(config, "test"), way=way, shot=0, episodes=options.episodes)
    print(f"as they are: {evaluate(learner, bank, protocol, embedded=embedded)}")
    means = []
    for seed in range(options.seeds):
        order = torch.randperm(bank.num_classes, generator=torch.Generator().manual_seed(seed))
        shuffled = embedded.replacing(class_attributes=embedded.class_attributes[order])
        means.append(evaluate(learner, bank, protocol, embedded=shuffled).accuracy)
    found = torch.tensor(means)
    print(
        f"shuffled, {len(means)} times: {found.mean():.2f}%, from {found.min():.2f} to {found.max():.2f} (chance {100 / way:g})"
    )
