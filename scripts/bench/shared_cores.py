"""Training steps of two threads, alone and beside work that keeps every core busy, by how long threads wait for each other in a busy loop.

    python scripts/bench/shared_cores.py [--rounds 5] [--steps 20] [--threads 2]

`fewshot` lets GNU's OpenMP wait 5000 turns of that loop (GOMP_SPINCOUNT, where nothing is set), which by itself takes 300,000: a waiting thread
keeps a core from the thread that it waits for. Steps are of Prototypical Networks, Conv-4, 28x28, 5-way 1-shot 5-query.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from command import count, run
from rounds import interleaved, report

WAITS = {"": "5000", ", OpenMP's own wait": "300000"}


def serve(steps: int, threads: int) -> None:
    """Do so many steps for each line of stdin, and say so."""
    import torch

    from fewshot import Conv4, CrossEntropy, EpisodeSampler, MetricLearner, Protocol, PrototypeHead, open_dataset

    torch.set_num_threads(threads)
    learner = MetricLearner(Conv4(channels=1, image_size=28), PrototypeHead(), CrossEntropy())
    optimizer = torch.optim.Adam(learner.parameters())
    sampler = EpisodeSampler(open_dataset("glyphs").bank("train"), Protocol(way=5, shot=1, query=5))
    print("ready", flush=True)
    for _ in sys.stdin:
        for number in range(steps):
            loss = learner.training_loss(sampler.episodes(number, 1)).total
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print("done", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=count, default=5)
    parser.add_argument("--steps", type=count, default=20)
    parser.add_argument("--threads", type=count, default=2)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.steps, arguments.threads)
        return
    command = [sys.executable, __file__, "--serve", f"--steps={arguments.steps}", f"--threads={arguments.threads}"]
    workers = {}
    for name, turns in WAITS.items():
        own = {key: value for key, value in os.environ.items() if key not in ("OMP_WAIT_POLICY", "OMP_NUM_THREADS")}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        workers[name] = subprocess.Popen(command, env=own | {"GOMP_SPINCOUNT": turns}, **pipes)

    def works(name: str, busy: int):
        def work() -> int:
            others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
            # Until they run.
            time.sleep(0.5)
            began = time.perf_counter()
            try:
                asked(workers[name])
            finally:
                for other in others:
                    other.kill()
            taken.append(time.perf_counter() - began)
            return arguments.steps

        return work

    taken: list[float] = []
    try:
        for worker in workers.values():
            assert worker.stdout.readline() == "ready\n"
        competitors = {}
        for place, busy in (("alone", 0), (f"beside {arguments.threads} busy processes", arguments.threads)):
            competitors |= {f"{place}{name}": works(name, busy) for name in WAITS}
        # Time goes by in the steps alone, not in the beginnings of the others.
        seconds = interleaved(competitors, arguments.rounds, clock=lambda: sum(taken))
    finally:
        for worker in workers.values():
            worker.kill()
    print(f"Prototypical Networks, Conv-4, 28x28, {arguments.threads} threads, {arguments.rounds} interleaved rounds\n")
    names = list(competitors)
    report(seconds, "steps", {names[1]: names[0], names[3]: names[2]})


def asked(worker: subprocess.Popen) -> None:
    worker.stdin.write("go\n")
    worker.stdin.flush()
    assert worker.stdout.readline() == "done\n"


if __name__ == "__main__":
    run(main)
