"""Runs benchmarks and puts what they print into docs/benchmarks.md, with a picture of all ratios beside the goals.

    python scripts/bench/report.py                     all of them, about half an hour on an idle machine
    python scripts/bench/report.py draws episodes
    python scripts/bench/report.py --picture           the picture alone, of what the page says

The page is written by hand; each benchmark owns what lies between its two markers there.
"""

import argparse
import platform
import re
import subprocess
import sys
from pathlib import Path

import matplotlib
import torch

matplotlib.use("agg")
import matplotlib.pyplot as plt

from fewshot.device import cpu_cores
from fewshot.files import replacing, write_text

sys.path.insert(0, str(Path(__file__).parent))
from command import run

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "benchmarks.md"
COMMANDS = {
    "draws": ["draws.py"],
    "episodes": ["episodes.py"],
    "episodes_one_thread": ["episodes.py", "--threads", "1"],
    "protonet_step": ["protonet_step.py"],
    "protonet_step_one_thread": ["protonet_step.py", "--threads", "1"],
    "protonet_step_omniglot": ["protonet_step.py", "--data", "omniglot", "--way", "20", "--shot", "1", "--query", "5", "--steps", "10"],
    "meta_test": ["meta_test.py"],
    "transductive": ["transductive.py", "--tasks", "128", "--theirs", "8"],
    "maml": ["maml.py"],
    "cpu_training": ["cpu_training.py", "--size", "84"],
    "cpu_training_28": ["cpu_training.py", "--size", "28"],
    "task_augmentation": ["task_augmentation.py"],
    "startup": ["startup.py"],
    "memory": ["memory.py"],
    "shared_cores": ["shared_cores.py"],
}  # fmt: skip
# Those that run on a GPU where there is one; the others are of the CPU.
ON_GPU = ("protonet_step.py", "maml.py", "memory.py")
# Of a benchmark: which row, beside which, and how many times as fast the latter shall be.
GOALS = {
    ("draws", "easyfsl 1.5.0", "fewshot, 64 tasks at a time"): 15,
    ("draws", "easyfsl 1.5.0", "fewshot, 10,000 tasks"): 10,
    ("episodes", "easyfsl 1.5.0, JPEGs, 2 workers", "fewshot"): 20,
    ("episodes", "learn2learn 0.2.0, in memory", "fewshot"): 2.5,
    ("episodes", "easyfsl, random part, mirror, colours, 2 workers", "fewshot, random part, mirror, colours"): 3,
    ("episodes", "easyfsl, random part, mirror, colours, 2 workers", "fewshot, shift, mirror, colours"): 8,
    ("protonet_step", "plain PyTorch", "fewshot"): 2,
    ("protonet_step", "plain PyTorch", "fewshot, bf16"): 4,
    ("protonet_step", "bare backbone, random tensor", "fewshot"): 0.95,
    ("meta_test", "easyfsl 1.5.0, task by task", "fewshot, 10,000 tasks"): 300,
    ("transductive", "prototype, easyfsl", "prototype"): 10,
    ("transductive", "LaplacianShot, easyfsl", "LaplacianShot"): 4,
    ("transductive", "TIM, 50 steps, easyfsl", "TIM, 50 steps"): 3.5,
    ("transductive", "PT-MAP, 10 steps, easyfsl", "PT-MAP, 10 steps"): 50,
    **{("maml", "learn2learn 0.2.0", f"MAML, {steps} inner steps, {tasks} tasks"): 1.2 for steps in (1, 5) for tasks in (4, 16, 32)},
}  # fmt: skip


def processor() -> str:
    """What the CPU calls itself."""
    found = (
        re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
        if Path("/proc/cpuinfo").exists()
        else None
    )
    return found[1] if found else platform.processor() or platform.machine()


def ran(name: str) -> str:
    """What a benchmark says, with its command and the machine."""
    command = COMMANDS[name]
    done = subprocess.run(
        [sys.executable, str(HERE / command[0]), *command[1:]], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{name}: {(done.stderr.strip() or f'ended with {done.returncode}').splitlines()[-1]}")
    gpu = f", {torch.cuda.get_device_name()}" if command[0] in ON_GPU and torch.cuda.is_available() else ""
    machine = f"{cpu_cores()} cores of {processor()}{gpu}, Python {platform.python_version()}"
    return f"`python scripts/bench/{' '.join(command)}`, {machine}:\n\n{done.stdout.strip()}"


def ratios(page: str) -> list[tuple[str, str, str, tuple[float, float, float]]]:
    """Benchmark, row, what it is beside, and least, median and most of how many times as fast the latter is."""
    found = []
    for name, text in re.findall(r"<!-- bench (\w+) -->\n(.*?)<!-- end -->", page, re.DOTALL):
        row = ""
        for line in text.splitlines():
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if name == "maml" and re.fullmatch(r"\d+", cells[0]):
                what = f"MAML, {cells[0]} inner steps, {cells[1]} tasks"
                found.append((name, "learn2learn 0.2.0", what, tuple(map(float, cells[4:7]))))
            elif len(cells) == 6 and re.fullmatch(r"[\d.]+", cells[3]):
                row = cells[0] or row
                found.append((name, row, cells[2], tuple(map(float, cells[3:]))))
    return found


def draw(page: str, path: Path) -> None:
    """All ratios that have a goal: the median, from least to most, and the goal."""
    known = [(*key, ratio, GOALS[tuple(key)]) for *key, ratio in ratios(page) if tuple(key) in GOALS]
    figure, axes = plt.subplots(figsize=(9, 0.32 * len(known) + 1.2), layout="constrained")
    for y, (*_, (least, median, most), goal) in enumerate(reversed(known)):
        colour = "tab:green" if median >= goal else "tab:orange"
        axes.plot([least, most], [y, y], color=colour, linewidth=2)
        axes.plot(median, y, "o", color=colour)
        axes.plot(goal, y, "|", color="black", markersize=14)
        axes.annotate(f"{median:.3g}", (most, y), xytext=(6, -3), textcoords="offset points", fontsize=8)
    axes.set_yticks(
        range(len(known)), [f"{name}:  {ours}  /  {theirs}" for name, theirs, ours, *_ in reversed(known)], fontsize=7
    )
    axes.set_xscale("log")
    axes.axvline(1, color="0.7", linewidth=1, zorder=0)
    axes.set_xlabel("times as fast: median, least, most; black: the goal")
    axes.grid(axis="x", color="0.9")
    axes.set_axisbelow(True)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help=f"of {', '.join(COMMANDS)}")
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--picture", action="store_true", help="run nothing")
    arguments = parser.parse_args()
    strange = set(arguments.names) - set(COMMANDS)
    if strange:
        raise SystemExit(f"there is no benchmark {min(strange)}; expected one of {', '.join(COMMANDS)}")
    if not arguments.page.is_file():
        raise SystemExit(
            f"there is no page {arguments.page}; expected one with places such as <!-- bench draws --> and <!-- end -->"
        )
    for name in () if arguments.picture else arguments.names or COMMANDS:
        print(f"{name} ...", flush=True)
        page, text = arguments.page.read_text(encoding="utf-8"), ran(name)
        print(f"{text}\n", flush=True)
        pattern = re.compile(rf"(<!-- bench {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        if not pattern.search(page):
            raise SystemExit(f"{arguments.page} has no place for {name}: <!-- bench {name} --> and <!-- end -->")
        write_text(arguments.page, pattern.sub(lambda found, text=text: f"{found[1]}{text}\n{found[2]}", page))
    draw(arguments.page.read_text(encoding="utf-8"), arguments.page.with_suffix(".png"))


if __name__ == "__main__":
    run(main)
