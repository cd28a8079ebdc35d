"""Meta-steps per second and peak memory of MAML, beside learn2learn 0.2.0 on the same network, images and tasks.

    python scripts/bench/maml.py [--query 15] [--steps 1 5] [--tasks 4 16 32] [--rounds 5] [--threads 1] [--first-order]

5-way 1-shot Omniglot (28x28; random images of that size where it is not prepared), Conv-4 with 64 filters and a linear layer, Adam;
learn2learn's loop is that of its own examples: a clone for each task, its query loss differentiated before the next task. Queries are
normalised by each other on both sides, as BatchNorm in training does, so that both compute the same numbers; the script
compares losses and meta-gradients before it measures anything.

Speed comes from interleaved rounds in one process. Memory is that of a fresh process for each side and setting: the highest resident
memory during three meta-steps above what was resident before the first (`VmHWM` of Linux, set back before), on a GPU the most
that torch allocated above what was allocated before. `--clock cpu` counts the time in which the process ran, for one thread on
a machine that has other work. On a CPU both sides keep freed memory (`fewshot/device.py`).
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import learn2learn as l2l
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from fewshot import Bank, EpisodeSampler, Protocol, open_dataset
from fewshot.backbones.conv4 import Conv4
from fewshot.device import device_name, keep_freed_memory
from fewshot.errors import FewshotError
from fewshot.heads.linear import LinearHead
from fewshot.learners.gradient.maml import MAML
from fewshot.learners.metric_learner import MetricLearner
from fewshot.losses.cross_entropy import CrossEntropy

sys.path.insert(0, str(Path(__file__).parent))
from command import add_folders, count, run
from rounds import interleaved, ratios, wait_for

LR = 0.5
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
SIDES = ("fewshot", "learn2learn")


def omniglot(arguments: argparse.Namespace) -> tuple[str, Bank]:
    """What was opened, and the bank."""
    try:
        return "Omniglot", open_dataset("omniglot", root=arguments.root, prepared=arguments.prepared).bank("train")
    except FewshotError:
        generator = torch.Generator().manual_seed(0)
        items = torch.randint(0, 256, (40 * 20, 1, 28, 28), generator=generator).to(torch.uint8)
        return "random images", Bank(items, torch.arange(40).repeat_interleave(20), [str(i) for i in range(40)])


class Side:
    """One library, ready to make meta-steps of the same tasks from the same weights."""

    def __init__(self, name: str, bank: Bank, arguments: argparse.Namespace, steps: int, tasks: int, double=False):
        protocol = Protocol(5, 1, arguments.query)
        self.name, self.steps, self.tasks, self.done = name, steps, tasks, 0
        torch.manual_seed(0)
        backbone, head = Conv4(1, image_size=28), LinearHead(64, 5)
        order = arguments.first_order
        if name == "fewshot":
            learner = MetricLearner(backbone, head, CrossEntropy())
            self.module = MAML(learner, steps, lr=LR, norm="transductive", first_order=order)
            # As `trainer.channels_last`, which is on by default, has it.
            self.module.to(memory_format=torch.channels_last)
        else:
            rows = nn.Linear(64, 5)
            rows.load_state_dict(head.state_dict())
            self.module = l2l.algorithms.MAML(nn.Sequential(backbone, rows), LR, first_order=order)
        layout = name == "fewshot" or arguments.their_channels_last
        if name == "learn2learn" and layout:
            self.module.to(memory_format=torch.channels_last)
        self.sampler = EpisodeSampler(bank, protocol, channels_last=layout)
        self.dtype = torch.float64 if double else torch.float32
        self.module.to(bank.device, self.dtype).train()
        self.optimizer = torch.optim.Adam(self.module.parameters(), 1e-3)

    def gradients(self) -> float:
        """Meta-gradients of the next tasks, in the weights' `grad`; the mean query loss."""
        episodes = self.sampler.episodes(self.done, self.tasks)
        episodes = episodes.with_items(episodes.support.to(self.dtype), episodes.query.to(self.dtype))
        self.done += self.tasks
        self.optimizer.zero_grad()
        if self.name == "fewshot":
            loss = self.module.training_loss(episodes).total
            loss.backward()
            return float(loss.detach())
        total = 0.0
        for task in range(self.tasks):
            learner = self.module.clone()
            for _ in range(self.steps):
                learner.adapt(cross_entropy(learner(episodes.support[task]), episodes.support_labels[task]))
            loss = cross_entropy(learner(episodes.query[task]), episodes.query_labels[task]) / self.tasks
            loss.backward()
            total += float(loss.detach())
        return total

    def work(self, count: int = 1) -> int:
        for _ in range(count):
            self.gradients()
            self.optimizer.step()
        return count

    def slopes(self) -> list[Tensor]:
        """The meta-gradients, backbone then linear layer."""
        return [p.grad for p in self.module.parameters()]


def same(bank: Bank, arguments: argparse.Namespace, steps: int) -> float:
    """The largest difference of a meta-gradient of two tasks in double precision, as a share of the largest gradient.

    In single precision five steps on the same pixels part ways where pooling finds two alike.

    Raises:
        SystemExit: the sides do not compute the same.
    """
    sides = [Side(name, bank, arguments, steps, 2, double=True) for name in SIDES]
    losses = [side.gradients() for side in sides]
    ours, theirs = (side.slopes() for side in sides)
    off = max(float((a - b).abs().max()) for a, b in zip(ours, theirs, strict=True))
    off /= max(float(b.abs().max()) for b in theirs)
    if abs(losses[0] - losses[1]) > 1e-9 or off > 1e-9:
        raise SystemExit(f"the sides differ: losses {losses}, meta-gradients by {off:.1e} of the largest")
    return off


def peak(work: Callable[[], int], device: torch.device) -> int:
    """Bytes at the highest point of `work` above those before it."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return torch.cuda.max_memory_allocated() - before
    Path("/proc/self/clear_refs").write_text("5")
    before = _resident("VmRSS")
    work()
    return _resident("VmHWM") - before


def _resident(what: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(what))


def memory(name: str, arguments: argparse.Namespace, steps: int, tasks: int) -> float:
    """Megabytes of one side in a process of its own."""
    asked = json.dumps([name, steps, tasks])
    done = subprocess.run([sys.executable, *sys.argv, "--serve", asked], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return int(done.stdout.split()[-1]) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--query", type=count, default=15, help="of each class")
    parser.add_argument("--steps", type=count, nargs="+", default=[1, 5], help="of the inner loop")
    parser.add_argument("--tasks", type=count, nargs="+", default=[4, 16, 32], help="of a meta-step")
    parser.add_argument("--rounds", type=count, default=5)
    parser.add_argument("--threads", type=count, default=1)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--first-order", action="store_true")
    parser.add_argument("--their-channels-last", action="store_true", help="give learn2learn that layout too")
    # 32 bits on both sides, as fewshot has it.
    torch.backends.cudnn.allow_tf32 = False
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    add_folders(parser)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    keep_freed_memory()
    source, bank = omniglot(arguments)
    bank = bank.to(arguments.device)
    if arguments.serve:
        name, steps, tasks = json.loads(arguments.serve)
        side = Side(name, bank, arguments, steps, tasks)
        print(peak(lambda: side.work(3), bank.device))
        return
    order = "first" if arguments.first_order else "second"
    print(
        f"MAML, {order} order, {source}, 5-way 1-shot {arguments.query}-query, "
        f"{device_name(bank.device)}, torch {torch.__version__}, {arguments.clock} time\n"
    )
    print("| inner steps | tasks | fewshot, meta-steps/s | learn2learn | faster: least | median | most ", end="")
    print("| fewshot, MB | learn2learn, MB | memory |\n|" + " ---: |" * 10)
    furthest = 0.0
    for steps in arguments.steps:
        furthest = max(furthest, same(bank, arguments, steps))
        for tasks in arguments.tasks:
            sides = [Side(name, bank, arguments, steps, tasks) for name in SIDES]
            work = {side.name: _finished(side, bank) for side in sides}
            ours, theirs = interleaved(work, arguments.rounds, CLOCKS[arguments.clock]).values()
            least, median, most = ratios(ours, theirs)
            megabytes = [memory(name, arguments, steps, tasks) for name in SIDES]
            print(
                f"| {steps} | {tasks} | {1 / statistics.median(ours):.2f} | {1 / statistics.median(theirs):.2f} "
                f"| {least:.2f} | {median:.2f} | {most:.2f} "
                f"| {megabytes[0]:.0f} | {megabytes[1]:.0f} | {megabytes[0] / megabytes[1]:.2f} |",
                flush=True,
            )
    print(f"\nmeta-gradients of the two differ by at most {furthest:.0e} of the largest, in double precision")


def _finished(side: Side, bank: Bank) -> Callable[[], int]:
    """A meta-step whose end is waited for."""

    def work() -> int:
        done = side.work()
        wait_for(bank.device)
        return done

    return work


if __name__ == "__main__":
    run(main)
