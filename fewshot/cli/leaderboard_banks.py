"""The part of `fewshot-leaderboard verify` that opens images: is the bank still the row's, and are the episodes?"""

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from omegaconf import OmegaConf
from rich.console import Console

from fewshot.cli.tested_banks import open_test_banks
from fewshot.data.bank import Bank
from fewshot.data.catalog import made_dataset
from fewshot.data.image_format import ImageFormat
from fewshot.episodes.protocol import Protocol
from fewshot.episodes.sampler import EpisodeSampler, episodes_sha256
from fewshot.errors import FewshotError
from fewshot.leaderboard.run_files import run_files
from fewshot.leaderboard.verify import Verdict
from fewshot.training.checkpoint import load_weights


def check_banks(frame: pd.DataFrame, verdicts: Sequence[Verdict], places: Sequence[Path]) -> None:
    """Add to each verdict what opening its images and drawing its episodes again finds.

    Args:
        frame: rows.
        verdicts: of the rows, in their order.
        places: folders of runs to look in first.
    """
    banks: dict[Path, dict[str, Bank]] = {}
    drawn: dict[tuple[str, Protocol], str] = {}
    for verdict, (_, row) in zip(verdicts, frame.iterrows(), strict=True):
        try:
            files, protocol = run_files(row, places), _protocol(row)
            if files.folder not in banks:
                banks[files.folder] = _test_banks(files.config, protocol)
            bank = banks[files.folder].get(f"{row['data']}/{row['split']}")
            if bank is None:
                raise FewshotError(f"{files.config} names no {row['data']}/{row['split']}")
            if bank.fingerprint != row["bank_fingerprint"]:
                verdict.wrong.append(
                    f"bank_fingerprint is {row['bank_fingerprint'][:16]}, the images give {bank.fingerprint[:16]}"
                )
            key = (bank.fingerprint, protocol)
            if key not in drawn:
                drawn[key] = episodes_sha256(EpisodeSampler(bank, protocol))
            if drawn[key] != row["episodes_sha256"]:
                verdict.wrong.append(f"episodes_sha256 is {row['episodes_sha256'][:16]}, drawn again {drawn[key][:16]}")
        except FewshotError as error:
            verdict.unchecked.append(f"bank: {error}")


def _test_banks(config_file: Path, protocol: Protocol) -> dict[str, Bank]:
    if not config_file.is_file():
        raise FewshotError(f"{config_file} is missing")
    config = OmegaConf.load(config_file)
    format_file = config.get("checkpoint") or config_file.parent / "best.safetensors"
    facts = load_weights(format_file)[1] if Path(format_file).is_file() else {}
    trained_on = ImageFormat.from_json(facts["images"]) if "images" in facts else None
    dataset = made_dataset(config.data)
    banks = open_test_banks(config.data, dataset, {}, protocol, trained_on, Console(quiet=True))
    return {f"{bank.name}/{bank.split}": bank for bank in banks.values()}


def _protocol(row: pd.Series) -> Protocol:
    shots = [int(shot) for shot in row["shot"].split(",")]
    uneven = re.fullmatch(r"dirichlet\((.+)\)", row["imbalance"])
    return Protocol(
        way=int(row["way"]),
        shot=shots[0] if len(shots) == 1 else tuple(shots),
        query=int(row["query"]),
        dirichlet=float(uneven.group(1)) if uneven else None,
        episodes=int(row["episodes"]),
        seed=int(row["test_seed"]),
    )
