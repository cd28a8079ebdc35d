"""learn2learn's MAML on Omniglot, on the episodes of ours: `python scripts/reproduce/learn2learn_omniglot.py --tasks 40000`.

The rates are those of its own Omniglot example, one inner step at 0.5 and Adam at 0.003, with the mean of the tasks' gradients; the example has a fully
connected network, 60,000 steps of 32 tasks and one step in the test, here it is its `OmniglotCNN`, 16 tasks and 3 steps. Episodes, test and interval are those of `fewshot experiment=omniglot/maml_5w1s`.
"""

import argparse
import time

import learn2learn as l2l
import torch
from learn2learn.vision.models import OmniglotCNN
from torch.nn.functional import cross_entropy

from fewshot import EpisodeSampler, Protocol, open_dataset
from fewshot.evaluation.intervals import mean_interval

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--tasks", type=int, default=40000)
parser.add_argument("--tasks-per-step", type=int, default=16)
parser.add_argument("--lr", type=float, default=0.003)
parser.add_argument("--steps-of-a-test", type=int, default=3)
parser.add_argument("--root", default="data/raw")
parser.add_argument("--prepared", default="data/prepared")
parser.add_argument("--threads", type=int, default=1)
options = parser.parse_args()

torch.set_num_threads(options.threads)
torch.manual_seed(0)
data = open_dataset("omniglot", root=options.root, prepared=options.prepared)
train = EpisodeSampler(data.bank("train"), Protocol(5, 1, 1, episodes=options.tasks))
test = EpisodeSampler(data.bank("test"), Protocol(5, 1, 1, episodes=1000))
maml = l2l.algorithms.MAML(OmniglotCNN(5), lr=0.5, first_order=False)
optimizer = torch.optim.Adam(maml.parameters(), options.lr)


def adapted(episodes, task, steps):
    learner = maml.clone()
    for _ in range(steps):
        learner.adapt(cross_entropy(learner(episodes.support[task]), episodes.support_labels[task]))
    return learner


started = time.perf_counter()
for first in range(0, options.tasks, options.tasks_per_step):
    episodes = train.episodes(first, options.tasks_per_step)
    optimizer.zero_grad()
    for task in range(len(episodes)):
        logits = adapted(episodes, task, 1)(episodes.query[task])
        (cross_entropy(logits, episodes.query_labels[task]) / len(episodes)).backward()
    optimizer.step()
    if (first // options.tasks_per_step + 1) % 100 == 0:
        done = first + options.tasks_per_step
        print(f"task {done}/{options.tasks}  {done / (time.perf_counter() - started):.1f} tasks/s", flush=True)

accuracies = []
for first in range(0, 1000, 10):
    episodes = test.episodes(first, 10)
    for task in range(10):
        logits = adapted(episodes, task, options.steps_of_a_test)(episodes.query[task])
        accuracies.append(float((logits.argmax(1) == episodes.query_labels[task]).float().mean()))
found = mean_interval(torch.tensor(accuracies).double().numpy())
print(
    f"learn2learn {100 * found.mean:.2f} ± {100 * found.half_width:.2f}% (5-way 1-shot 1-query, 1000 episodes of omniglot/test)"
)
