"""Interleaved rounds: competitors take turns, so that a noisy minute hits all of them."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import torch


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


def wait_for(device: torch.device) -> None:
    """Until a GPU, which works on behind the back of the clock, has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def ratios(ours: list[float], theirs: list[float]) -> tuple[float, float, float]:
    """How many times ours is faster in the same round: least, median and most."""
    faster = [b / a for a, b in zip(ours, theirs, strict=True)]
    return min(faster), statistics.median(faster), max(faster)


def report(seconds: dict[str, list[float]], unit: str, beside: Mapping[str, str | Sequence[str]] | None = None) -> None:
    """Print units per second (of the median round) and how many times as fast another competitor was in the same round.

    Args:
        seconds: per unit of work, as `interleaved` returns them.
        unit: of work.
        beside: of a competitor, the one or those whose advantage over it is shown; by default the first beside all others.
    """
    first = next(iter(seconds))
    beside = dict.fromkeys(list(seconds)[1:], first) if beside is None else beside
    print(f"| | {unit}/s, median | beside it | is so many times as fast: least | median | most |")
    print("| --- | ---: | --- | ---: | ---: | ---: |")
    for name, times in seconds.items():
        rate = 1 / statistics.median(times)
        begin = [name, f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"]
        others = beside.get(name, [""])
        for other in [others] if isinstance(others, str) else others:
            faster = [f"{ratio:.2f}" for ratio in ratios(seconds[other], times)] if other else [""] * 3
            print(f"| {' | '.join([*begin, other, *faster])} |", flush=True)
            begin = ["", ""]
