"""Resident memory of meta-training on mini-ImageNet, read all the way: what it takes, and that nothing grows.

    python scripts/bench/memory.py [--episodes 20000] [--every 2000] [--options KEY=VALUE ...]

`fewshot` itself, 5-way 1-shot with one query a class, so that 20,000 episodes end in minutes, with a narrow Conv-4 unless options say otherwise; validation and checkpoints as
they are by default. Resident memory has two parts: pages of the memory-mapped images, which the kernel takes back when it needs them, and the process's own. Both are read
from `/proc` four times a second.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from command import count, run


def resident(pid: int) -> tuple[float, float]:
    """Megabytes of the process's own memory, and of files that are mapped."""
    found = dict(re.findall(r"^(RssAnon|RssFile):\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE))
    return int(found["RssAnon"]) / 1000, int(found["RssFile"]) / 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--episodes", type=count, default=20000)
    parser.add_argument("--every", type=count, default=2000, help="episodes between two lines")
    parser.add_argument("--options", nargs="*", default=["backbone.width=8", "episodes.train.query=1"])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(sys.executable, "-m", "fewshot.cli.main", "data=mini_imagenet", "mode=train", f"output={folder}"),
            *(f"training.log_every={arguments.every}", f"training.validate_every={arguments.every}"),
            f"training.checkpoint_every={arguments.every}",
            *("training.patience=null", "episodes.val.episodes=100", f"episodes.train.episodes={arguments.episodes}"),
            *arguments.options,
        ]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, bufsize=1)
        highest = [0.0, 0.0]

        def watch() -> None:
            while process.poll() is None:
                try:
                    highest[:] = map(max, highest, resident(process.pid))
                except (FileNotFoundError, KeyError):
                    return
                time.sleep(0.25)

        threading.Thread(target=watch, daemon=True).start()
        print("| episode | own memory, MB | mapped files, MB |\n| ---: | ---: | ---: |")
        for line in process.stdout:
            if match := re.match(r"episode (\d+)/", line):
                own, mapped = resident(process.pid)
                print(f"| {match[1]} | {own:.0f} | {mapped:.0f} |", flush=True)
        if process.wait():
            raise SystemExit(f"the training ended with {process.returncode}")
    print(f"\nhighest: {highest[0]:.0f} MB of its own, {highest[1]:.0f} MB of mapped files")


if __name__ == "__main__":
    run(main)
