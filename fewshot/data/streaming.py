"""Making a bank on disk piece by piece, in several processes, so that it never lies in memory as a whole."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from fewshot.data.bank import fingerprint_header
from fewshot.data.photos import Photos, unreadable, with_span, write_part
from fewshot.data.pipeline import Pipeline
from fewshot.data.store import check_is_free, publish
from fewshot.errors import FewshotError

Report = Callable[[int, int], None]
"""Called with the number of images that are done, and of all."""

_PART_BYTES = 4 << 20
_BLOCK = 1 << 20
# Below this many images the start of other processes takes longer than the work.
_FEW = 500


def write_bank(
    folder: Path,
    photos: Photos,
    pipeline: Pipeline,
    description: dict,
    *,
    attributes: np.ndarray | None = None,
    excluded: set[bytes] = frozenset(),
    workers: int = 1,
    report: Report | None = None,
) -> None:
    """Read `photos` through `pipeline` into a bank in `folder`.

    What was done before an interruption is kept beside `folder` and used by the next call for the same
    photos; the bank itself appears at once when it is whole.

    Args:
        folder: of the bank.
        photos: the public images.
        pipeline: makes pixels of them.
        description: name, split, pipeline, mean and std, as `bank.json` has them.
        attributes: optional float `[classes, a]`.
        excluded: digests (`item_digests`) of images to leave out.
        workers: processes that decode images.
        report: hears of the progress.

    Raises:
        FewshotError: images that cannot be read, all of them counted and the first ones named; or no space.
    """
    check_is_free(folder)
    shape = (len(photos), pipeline.channels, pipeline.size, pipeline.size)
    unfinished = folder.parent / f".{folder.name}.unfinished"
    key = json.dumps([_PART_BYTES, shape, photos.class_names, photos.counts, photos.key(), repr(pipeline)])
    _begin(unfinished, hashlib.sha256(key.encode()).hexdigest(), shape)
    items = unfinished / "items.npy"
    _fill(items, unfinished / "done", photos, pipeline, shape, workers, report)
    labels = np.repeat(np.arange(len(photos.counts)), photos.counts)
    if excluded:
        kept = np.array([digest not in excluded for digest in item_digests(items)])
        labels = labels[kept]
        if len(np.unique(labels)) < len(photos.counts):
            raise FewshotError(f"{folder}: a class has no images left without the excluded ones; do not exclude them")
        items, shape = _without(items, kept), (len(labels), *shape[1:])
    np.save(unfinished / "labels.npy", labels, allow_pickle=False)
    if attributes is not None:
        np.save(unfinished / "class_attributes.npy", attributes, allow_pickle=False)
    fingerprint = _fingerprint(items, labels, photos.class_names)
    # The key first: a folder without one is not gone on with.
    for name in ("key", "done"):
        (unfinished / name).unlink()
    publish(unfinished, folder, description | {"fingerprint": fingerprint, "class_names": photos.class_names})


def item_digests(path: Path) -> Iterator[bytes]:
    """A digest of each item of an `items.npy`, in order; equal images have equal ones."""
    with open(path, "rb") as file:
        shape, _, _ = _header(file)
        for _ in range(shape[0]):
            yield hashlib.blake2b(file.read(int(np.prod(shape[1:]))), digest_size=16).digest()


def unreadable_images(photos: Photos, workers: int = 1, report: Report | None = None) -> list[str]:
    """Those of `photos` that cannot be decoded, each with its reason."""
    parts = list(_parts(len(photos), 200))
    problems, done = [], 0
    for (start, stop), found in _in_processes(unreadable, parts, photos.part, lambda start: (), workers, len(photos)):
        problems += [(start, text) for text in found]
        done += stop - start
        if report:
            report(done, len(photos))
    return [text for _, text in sorted(problems)]


def _begin(unfinished: Path, key: str, shape: tuple[int, ...]) -> None:
    """An `items.npy` of the right size, the one of an interrupted call if it was made for the same images."""
    if (
        all((unfinished / name).is_file() for name in ("key", "done", "items.npy"))
        and (unfinished / "key").read_text() == key
    ):
        return
    if unfinished.exists():
        shutil.rmtree(unfinished)
    size = int(np.prod(shape))
    free = shutil.disk_usage(unfinished.parent).free
    if size > free:
        raise FewshotError(
            f"{unfinished.parent} has {free / 1e9:.1f} GB free, the bank needs {size / 1e9:.1f}; set data.prepared to a larger disk"
        )
    unfinished.mkdir()
    with open(unfinished / "items.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        file.truncate(file.tell() + size)
    (unfinished / "done").touch()
    # Last, so that a folder with a key is one that can be gone on with.
    (unfinished / "key").write_text(key)


def _fill(
    items: Path, done: Path, photos: Photos, pipeline: Pipeline, shape: tuple, workers: int, report: Report | None
) -> None:
    size = int(np.prod(shape[1:]))
    finished = set(done.read_text().splitlines())
    parts = list(_parts(len(photos), max(1, _PART_BYTES // size)))
    # Taken before the files are read: one that changes meanwhile is read again by the next call.
    stamps = {span: f"{span[0]} {photos.part(*span).stamp()}" for span in parts}
    left = [span for span in parts if stamps[span] not in finished]
    count = len(photos) - sum(stop - start for start, stop in left)
    with open(items, "rb") as file:
        offset = _header(file)[2]
    problems = []
    with open(done, "a") as record:
        work = _in_processes(
            write_part,
            left,
            photos.part,
            lambda start: (pipeline, items, offset + start * size),
            workers,
            sum(stop - start for start, stop in left),
        )
        for (start, stop), found in work:
            problems += [(start, text) for text in found]
            if not found:
                record.write(f"{stamps[start, stop]}\n")
                record.flush()
            count += stop - start
            if report:
                report(count, len(photos))
    if problems:
        texts = [text for _, text in sorted(problems)]
        more = f" and {len(texts) - 3} more" if len(texts) > 3 else ""
        raise FewshotError(
            f"{len(texts)} image{'s' if len(texts) > 1 else ''} cannot be read: {', '.join(texts[:3])}{more}; repair what is "
            f"named or take it out, what is done stays done"
        )


def _in_processes(function, parts, part_of, arguments, workers, images) -> Iterator[tuple[tuple[int, int], list[str]]]:
    """Call `function(part, *arguments(start))` for each span of images; yield spans and results as they come."""
    calls = ((span, part_of(*span), arguments(span[0])) for span in parts)
    if workers == 1 or images < _FEW:
        for span, part, rest in calls:
            yield span, function(part, *rest)
        return
    # Opening what is prepared need not wait for it.
    from joblib import Parallel, delayed
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    # Without max_nbytes joblib would take the way through files for arrays of more than a megabyte.
    pool = Parallel(workers, return_as="generator_unordered", pre_dispatch=2 * workers, batch_size=1, max_nbytes=None)
    try:
        yield from pool(delayed(with_span)(span, function, part, *rest) for span, part, rest in calls)
    except TerminatedWorkerError as error:
        raise FewshotError(
            "a process that decoded images was killed, perhaps for lack of memory; run it again with workers=1, what is done "
            "stays done"
        ) from error


def _parts(total: int, size: int) -> Iterator[tuple[int, int]]:
    for start in range(0, total, size):
        yield start, min(start + size, total)


def _without(items: Path, kept: np.ndarray) -> Path:
    """`items.npy` with the items that are not `kept` taken out."""
    smaller = items.with_name("smaller.npy")
    with open(items, "rb") as old, open(smaller, "wb") as new:
        shape, _, _ = _header(old)
        size = int(np.prod(shape[1:]))
        facts = {"descr": "|u1", "fortran_order": False, "shape": (int(kept.sum()), *shape[1:])}
        np.lib.format.write_array_header_1_0(new, facts)
        for keep in kept:
            item = old.read(size)
            if keep:
                new.write(item)
    # What is left behind by an interruption here is no longer what its key says.
    (items.parent / "key").write_text("")
    os.replace(smaller, items)
    return items


def _fingerprint(items: Path, labels: np.ndarray, class_names: list[str]) -> str:
    with open(items, "rb") as file:
        shape, _, _ = _header(file)
        digest = fingerprint_header(shape, "torch.uint8", class_names)
        while block := file.read(_BLOCK):
            digest.update(block)
    digest.update(labels.astype(np.int64).tobytes())
    return digest.hexdigest()


def _header(file) -> tuple[tuple[int, ...], np.dtype, int]:
    """Shape, type and first byte of the array in a `.npy` file that is open; the file stands at that byte."""
    np.lib.format.read_magic(file)
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    return shape, dtype, file.tell()
