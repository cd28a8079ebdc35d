"""Interleaved rounds: competitors take turns, so that a noisy minute hits all of them."""

import statistics
import time
from collections.abc import Callable


def interleaved(
    competitors: dict[str, Callable[[], int]], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Seconds per unit of work, one number per round, after one round that is not counted.

    Args:
        competitors: name to a function that does some work and returns how many units it did.
        rounds: how many are counted.
        clock: seconds; `time.process_time` counts those alone in which this process ran, on a machine that others use.
    """
    seconds: dict[str, list[float]] = {name: [] for name in competitors}
    for turn in range(rounds + 1):
        for name, work in competitors.items():
            began = clock()
            units = work()
            if turn:
                seconds[name].append((clock() - began) / units)
    return seconds


def report(seconds: dict[str, list[float]], unit: str) -> None:
    """Print units per second (best and median round) and how many times the first is faster than each."""
    first = next(iter(seconds.values()))
    print(f"| | {unit}/s best | median | first is faster: median ratio | least ratio |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name, times in seconds.items():
        ratios = [theirs / ours for theirs, ours in zip(times, first, strict=True)]
        print(
            f"| {name} | {1 / min(times):.1f} | {1 / statistics.median(times):.1f} "
            f"| {statistics.median(ratios):.2f} | {min(ratios):.2f} |"
        )
