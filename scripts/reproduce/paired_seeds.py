"""The difference that a change makes, paired over test episodes and over training seeds.

    python scripts/reproduce/paired_seeds.py RUNS plain mlti ibi

Reads `RUNS/<name>-s<seed>-<hash>/test_accuracies.npy` of runs that were tested on the same episodes. For each name after the first:
the mean difference to the first in points, its interval over the seeds (Student's t over the seeds' differences, what another training
would give) and, for each seed, over the episodes.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from scipy.stats import t as student


def runs_of(folder: Path, name: str) -> dict[int, tuple[np.ndarray, dict]]:
    """Accuracies and row by seed."""
    found = {}
    for path in sorted(folder.glob(f"{name}-s*-????????/test_accuracies.npy")):
        row = json.loads((path.parent / "row.json").read_text(encoding="utf-8"))
        if row["seed"] in found:
            raise SystemExit(f"{folder} has two runs {name} of seed {row['seed']}; move one away")
        found[row["seed"]] = 100 * np.load(path, allow_pickle=False), row
    if not found:
        raise SystemExit(f"{folder} has no runs {name}-s0-... with test_accuracies.npy")
    return found


def half_width(values: np.ndarray) -> float:
    """Of the 95% interval of a mean; NaN for one value."""
    if len(values) < 2:
        return float("nan")
    return float(student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path)
    parser.add_argument("names", nargs="+")
    options = parser.parse_args()
    plain = runs_of(options.runs, options.names[0])
    print("| | seeds | accuracy | difference, 95% over seeds | of each seed, 95% over episodes |")
    print("| --- | ---: | ---: | ---: | --- |")
    for name in options.names:
        runs = runs_of(options.runs, name)
        seeds = sorted(runs.keys() & plain.keys())
        hashes = {runs[s][1]["episodes_sha256"] for s in seeds} | {plain[s][1]["episodes_sha256"] for s in seeds}
        if len(hashes) != 1:
            raise SystemExit(f"{name} and {options.names[0]} share no seed, or were tested on other episodes")
        accuracy = np.mean([runs[s][0].mean() for s in seeds])
        differences = [runs[s][0] - plain[s][0] for s in seeds]
        means = np.array([d.mean() for d in differences])
        each = ", ".join(f"{d.mean():+.2f} ± {half_width(d):.2f}" for d in differences)
        gain = "" if name == options.names[0] else f"{means.mean():+.2f} ± {half_width(means):.2f}"
        print(f"| {name} | {len(seeds)} | {accuracy:.2f} | {gain} | {each if gain else ''} |")


if __name__ == "__main__":
    main()
