"""Seconds until something can be done: `import fewshot` beside `import torch`, and `fewshot --help`.

    python scripts/bench/startup.py [--rounds 10]

Each in a process of its own, in turns; the first round, which reads files from the disk, is not counted.
"""

import argparse
import statistics
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from command import count, run
from rounds import interleaved, report

COMMANDS = {
    "import torch": ("-c", "import torch"),
    "import fewshot": ("-c", "import fewshot"),
    "import fewshot, and what a notebook begins with": (
        "-c",
        "from fewshot import Bank, EpisodeSampler, Protocol, open_dataset",
    ),
    "fewshot --help": ("-m", "fewshot.cli.main", "--help"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=count, default=10)
    arguments = parser.parse_args()

    def started(command: tuple[str, ...]):
        def work() -> int:
            subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
            return 1

        return work

    seconds = interleaved({name: started(command) for name, command in COMMANDS.items()}, arguments.rounds)
    report(seconds, "times", dict.fromkeys(list(COMMANDS)[1:], "import torch"))
    print("\nseconds, median: " + ", ".join(f"{name} {statistics.median(s):.2f}" for name, s in seconds.items()))


if __name__ == "__main__":
    run(main)
