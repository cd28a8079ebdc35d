"""A bank on disk: `items.npy`, `labels.npy` and `bank.json` in one folder, opened memory-mapped."""

import contextlib
import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from fewshot.data.bank import Bank
from fewshot.errors import FewshotError
from fewshot.files import write_text

FORMAT = "fewshot-bank"
VERSION = 1
_DESCRIPTION = "bank.json"
# Which files passed their check; written by whoever checked them.
_STAMP = "checked.json"

Check = Literal["changed", "always", "never"]


def save_bank(bank: Bank, folder: Path | str, source: str = "") -> None:
    """Write `bank` to `folder`: the whole of it appears at once, or nothing.

    Args:
        bank: what is written.
        folder: a new one, or that of another bank, which this one replaces.
        source: where the files lie that it was made from, if from any.

    Raises:
        FewshotError: the place cannot be written to, or holds something that is not a bank.
    """
    folder = Path(folder)
    check_is_free(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.unfinished-"))
    except OSError as error:
        raise FewshotError(
            f"cannot write {folder}: {error.strerror or error}; choose a folder that can be written to"
        ) from error
    try:
        arrays = {"items": bank.items, "labels": bank.labels}
        if bank.class_attributes is not None:
            arrays["class_attributes"] = bank.class_attributes
        for name, tensor in arrays.items():
            np.save(temporary / f"{name}.npy", tensor.cpu().contiguous().numpy(), allow_pickle=False)
        description = {
            "name": bank.name,
            "split": bank.split,
            "pipeline": bank.pipeline,
            "mean": list(bank.mean),
            "std": list(bank.std),
            "fingerprint": bank.fingerprint,
            "class_names": list(bank.class_names),
        } | ({"source": source} if source else {})
        publish(temporary, folder, description)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_is_free(folder: Path) -> None:
    """Raise a FewshotError if `folder` holds something that a bank must not replace."""
    if folder.exists() and not is_prepared(folder):
        raise FewshotError(f"{folder} exists and is not a prepared bank; move it away or choose another folder")


def publish(temporary: Path, folder: Path, description: dict) -> None:
    """Describe the arrays in `temporary` and give them their place, `folder`, at once.

    Args:
        temporary: folder with `items.npy`, `labels.npy` and perhaps `class_attributes.npy`.
        folder: the bank's; an older bank there is replaced.
        description: what `bank.json` says besides the files and their checksums.
    """
    description = {"format": FORMAT, "version": VERSION} | description
    description["files"] = {path.stem: _file_facts(path) for path in sorted(temporary.glob("*.npy"))}
    description["sha256"] = description_sha256(description)
    text = json.dumps(description, indent=1, ensure_ascii=False) + "\n"
    (temporary / _DESCRIPTION).write_text(text, encoding="utf-8")
    temporary.chmod(0o755)
    # Aside first and then away: killed in between, this leaves the old bank or none, and never half of one.
    aside = folder.parent / f".{folder.name}.unfinished-old"
    shutil.rmtree(aside, ignore_errors=True)
    if folder.exists():
        folder.rename(aside)
    temporary.rename(folder)
    shutil.rmtree(aside, ignore_errors=True)


def open_bank(folder: Path | str, check: Check = "changed") -> Bank:
    """Open the bank in `folder`, its arrays memory-mapped.

    Args:
        folder: what `save_bank` or `write_bank` wrote.
        check: whether to read the files through and compare them with their checksums (about a second
            per gigabyte): `changed` does so unless these very files, by size and time of change, passed
            before; `always`; or `never`, which compares sizes and shapes alone.

    Raises:
        FewshotError: the folder holds no bank, or one that is damaged, truncated or foreign.
    """
    folder = Path(folder)
    again = "delete the folder and prepare it again"
    try:
        description = json.loads((folder / _DESCRIPTION).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FewshotError(f"{folder} holds no prepared bank (no {_DESCRIPTION}); prepare it first") from error
    except (OSError, ValueError) as error:
        raise FewshotError(f"{folder / _DESCRIPTION} cannot be read ({error}); {again}") from error
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise FewshotError(f"{folder / _DESCRIPTION} does not describe a {FORMAT}; it was written by something else")
    if description.get("version") != VERSION:
        raise FewshotError(
            f"{folder} has bank version {description.get('version')}, this fewshot reads {VERSION}; {again}"
        )
    if description.get("sha256") != description_sha256(description):
        raise FewshotError(f"{folder / _DESCRIPTION} is damaged: its content is not what was written; {again}")
    try:
        stamp = _stamp(folder, description)
        passed = check == "never" or (check == "changed" and stamp == _read_stamp(folder))
        arrays = {
            name: _open_array(folder / f"{name}.npy", facts, not passed) for name, facts in description["files"].items()
        }
        if not passed:
            _write_stamp(folder, stamp)
        bank = Bank(
            items=torch.from_numpy(arrays["items"]),
            labels=torch.from_numpy(arrays["labels"]),
            class_names=description["class_names"],
            class_attributes=torch.from_numpy(arrays["class_attributes"]) if "class_attributes" in arrays else None,
            name=description["name"],
            split=description["split"],
            pipeline=description["pipeline"],
            mean=tuple(description["mean"]),
            std=tuple(description["std"]),
            _known_fingerprint=description["fingerprint"],
        )
    except FewshotError as error:
        raise FewshotError(f"{error}; {again}") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise FewshotError(f"{folder / _DESCRIPTION} lacks or garbles {error}; {again}") from error
    return bank


def description_sha256(description: dict) -> str:
    """sha256 of the content of a `bank.json`, all but the entry that holds it."""
    content = {key: value for key, value in description.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def is_prepared(folder: Path | str) -> bool:
    """Whether `folder` holds a finished bank (not whether it is undamaged)."""
    return (Path(folder) / _DESCRIPTION).is_file()


def _stamp(folder: Path, description: dict) -> str:
    """Changes when a file of the bank is written to or replaced."""
    facts = [description["sha256"]]
    for name in sorted(description["files"]):
        with contextlib.suppress(FileNotFoundError):
            state = (folder / f"{name}.npy").stat()
            facts += [name, state.st_size, state.st_mtime_ns]
    return json.dumps(facts)


def _read_stamp(folder: Path) -> str | None:
    try:
        return (folder / _STAMP).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _write_stamp(folder: Path, stamp: str) -> None:
    # A bank on a read-only disk is checked at each opening.
    with contextlib.suppress(OSError, FewshotError):
        write_text(folder / _STAMP, stamp)


def _file_facts(path: Path) -> dict:
    with open(path, "rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _open_array(path: Path, facts: dict, check: bool) -> np.ndarray:
    if not path.is_file():
        raise FewshotError(f"{path} is missing")
    size = path.stat().st_size
    if size != facts["bytes"]:
        raise FewshotError(f"{path} is damaged: {size} bytes, expected {facts['bytes']}")
    if check and _file_facts(path)["sha256"] != facts["sha256"]:
        raise FewshotError(f"{path} is damaged: its checksum is not the one it was written with")
    try:
        # Mode "c": pages are read on demand, and nothing done to the tensor reaches the file.
        return np.load(path, mmap_mode="c", allow_pickle=False)
    except ValueError as error:
        raise FewshotError(f"{path} is damaged: {error}") from error
