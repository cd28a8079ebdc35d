"""Competitors in processes of their own, which take turns: allocator and threads belong to a process."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence

from rounds import interleaved


def compete(ways: dict[str, dict], arguments: Sequence[str], rounds: int) -> dict[str, list[float]]:
    """Seconds per unit of work for each way: what `interleaved` returns.

    Starts the running script once for each way, with `--serve` and the way as JSON, and asks for one turn at a time.

    Args:
        ways: name to what the process is told.
        arguments: of the script, given on to each process.
        rounds: how many are counted.

    Raises:
        SystemExit: a process ended.
    """
    started = {
        name: subprocess.Popen(
            [sys.executable, sys.argv[0], *arguments, "--serve", json.dumps(way)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name, way in ways.items()
    }

    def turns(name: str, process: subprocess.Popen) -> Callable[[], int]:
        def turn() -> int:
            try:
                process.stdin.write("\n")
                process.stdin.flush()
            except BrokenPipeError:
                raise SystemExit(f"{name}: its process ended") from None
            done = process.stdout.readline()
            if not done:
                raise SystemExit(f"{name}: its process ended")
            return int(done)

        return turn

    try:
        return interleaved({name: turns(name, process) for name, process in started.items()}, rounds)
    finally:
        for process in started.values():
            process.kill()


def serve(work: Callable[[], int]) -> None:
    """Do one turn for each line on standard input, and answer with how many units it did."""
    for _ in sys.stdin:
        print(work(), flush=True)


def wait_for_turn(done: int | None) -> None:
    """What `serve` does, for work that cannot be called turn by turn and calls this in between: answer, and wait for the next line.

    Args:
        done: units of the turn that ended; None before the first.
    """
    if done is not None:
        print(done, flush=True)
    if not sys.stdin.readline():
        raise SystemExit
