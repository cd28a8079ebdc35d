"""Tasks per second of transductive heads: all tasks at once beside easyfsl 1.5.0, task by task.

    python scripts/bench/transductive.py [--rounds 5] [--tasks 256] [--theirs 16] [--threads 2]

5-way 1-shot 15-query tasks of 640 features behind a ReLU. Where easyfsl has the method, with its own settings on both sides: 20
bound updates with two real neighbours, 50 steps of gradient descent, 10 steps of PT-MAP. The second table has our heads with their papers'
settings.
"""

import argparse
import sys
import warnings
from pathlib import Path

import torch
from easyfsl.methods import BDCSPN, PTMAP, TIM, LaplacianShot, PrototypicalNetworks
from torch import nn

from fewshot import Episodes, PrototypeHead
from fewshot.choices import configured
from fewshot.device import keep_freed_memory
from fewshot.heads.catalog import make_head
from fewshot.heads.feature_transform import FeatureTransform, Prepared
from fewshot.heads.transductive.bd_cspn import BDCSPNHead
from fewshot.heads.transductive.laplacian_shot import LaplacianShotHead
from fewshot.heads.transductive.pt_map import PTMAPHead
from fewshot.heads.transductive.tim import TIMHead

sys.path.insert(0, str(Path(__file__).parent))
from command import count, run
from rounds import interleaved, report

PAPERS = (
    "laplacian_shot", "slk", "soft_kmeans", "bd_cspn", "label_propagation", "tim", "alpha_tim", "pt_map", "prototype_adaptation",
)  # fmt: skip


def tasks(count: int) -> Episodes:
    """Tasks whose classes overlap, as those of real features do."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(count, 5, 640, generator=generator)
    labels = torch.arange(5).expand(count, -1).contiguous()
    query_labels = torch.arange(5).repeat(15).expand(count, -1).contiguous()

    def around(labels):
        noise = 1.5 * torch.randn(*labels.shape, 640, generator=generator)
        return (centres.gather(1, labels[..., None].expand(-1, -1, 640)) + noise).relu()

    return Episodes(around(labels), labels, around(query_labels), query_labels, labels)


class UnitPTMAP(PTMAP):
    """easyfsl's on features of unit length behind their power, as the paper has them.

    Without that its transport plan of features like these underflows to 0 / 0, no comparison with its tolerance ever holds, and each
    of its 11 plans takes all 1000 iterations: a time of no use.
    """

    def compute_features(self, images: torch.Tensor) -> torch.Tensor:
        return nn.functional.normalize(super().compute_features(images), dim=1)


def agreement(mine: nn.Module, other: nn.Module, episodes: Episodes) -> str:
    """Share of queries that both predict alike, and whether the other's scores are numbers."""
    with torch.no_grad():
        expected = mine.eval()(episodes).argmax(-1)
    same, finite = [], True
    for i in range(len(episodes)):
        other.process_support_set(episodes.support[i], episodes.support_labels[i])
        scores = other(episodes.query[i])
        finite &= bool(scores.isfinite().all())
        same.append((scores.argmax(-1) == expected[i]).float().mean())
    return f"{100 * float(torch.stack(same).mean()):.0f}%{'' if finite else ', and its scores are no numbers'}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=count, default=5)
    parser.add_argument("--tasks", type=count, default=256, help="of ours in a round")
    parser.add_argument("--theirs", type=count, default=16, help="of easyfsl in a round")
    parser.add_argument("--batch", type=count, default=64, help="tasks that our heads get at a time")
    parser.add_argument("--threads", type=count, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    # As in every run of ours; it serves the other side as well.
    keep_freed_memory()
    episodes = tasks(arguments.tasks)
    batches = list(episodes.split(arguments.batch))

    def ours(head: nn.Module):
        @torch.no_grad()
        def work() -> int:
            for batch in batches:
                head.eval()(batch)
            return arguments.tasks

        return work

    def theirs(method: nn.Module):
        def work() -> int:
            for i in range(arguments.theirs):
                method.process_support_set(episodes.support[i], episodes.support_labels[i])
                method(episodes.query[i])
            return arguments.theirs

        return work

    warnings.simplefilter("ignore")
    unit = FeatureTransform("l2n")
    with_power = Prepared(PTMAPHead(steps=10), FeatureTransform("power"))
    pairs = {
        "prototype": (PrototypeHead(), PrototypicalNetworks(nn.Identity())),
        "LaplacianShot": (LaplacianShotHead(), LaplacianShot(nn.Identity())),
        "BD-CSPN": (BDCSPNHead(), BDCSPN(nn.Identity())),
        "TIM, 50 steps": (
            Prepared(TIMHead("gd", (1.0, 1.0, 0.1), temperature=10.0, iterations=50), unit), TIM(nn.Identity()),
        ),
        "PT-MAP, 10 steps": (with_power, UnitPTMAP(nn.Identity())),
        "PT-MAP, 10 steps, beside easyfsl as it is": (with_power, PTMAP(nn.Identity())),
    }  # fmt: skip
    print(f"{arguments.threads} threads, batches of {arguments.batch} tasks")
    few = next(iter(episodes.split(arguments.theirs)))
    alike = ", ".join(f"{name} {agreement(mine, other, few)}" for name, (mine, other) in pairs.items())
    print(f"\nqueries predicted alike: {alike}\n")
    found, beside = {}, {}
    for name, (mine, other) in pairs.items():
        found |= interleaved({name: ours(mine), f"{name}, easyfsl": theirs(other)}, arguments.rounds)
        beside[f"{name}, easyfsl"] = name
    report(found, "tasks", beside)
    heads = {name: make_head(configured("head", name), {"feature_size": 640}) for name in PAPERS}
    for head in heads.values():
        for part in head.modules():
            if hasattr(part, "base_mean"):
                part.base_mean.fill_(float(episodes.query.mean()))
    found = interleaved({name: ours(head) for name, head in heads.items()}, 1)
    print("\n| head, settings of its paper | tasks/s |\n| --- | ---: |")
    for name, times in found.items():
        print(f"| `{name}` | {1 / times[0]:.0f} |")


if __name__ == "__main__":
    run(main)
