"""The leaderboard file: a CSV that many processes append to."""

import contextlib
import csv
import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from fewshot.errors import FewshotError
from fewshot.files import replacing
from fewshot.leaderboard.row import Row

if TYPE_CHECKING:
    import pandas as pd

_KINDS = {field.name: bool if field.type == bool | None else field.type for field in fields(Row)}
COLUMNS = list(_KINDS)
# What every version has written: a file without these is somebody's other CSV.
_ALWAYS = ("when", "name", "data", "accuracy", "ci95", "episodes_sha256")
_TRUTH = {"true": True, "false": False}
_EXPECTED = {int: "a whole number", float: "a number", bool: "True or False"}
_LOCK_SECONDS = 60.0
_MOST_TORN_LINES = 100


def append(path: Path | str, row: Row) -> Path | None:
    """Add one row; other processes may append at the same time.

    The file is written anew under the lock `<name>.lock` beside it and takes the old one's place, so
    a reader finds every row complete and a killed process leaves what was there before. Rows already
    there stay byte for byte, unless the file lacks columns of this version: then all rows get them,
    empty. Columns this version does not know are kept, and empty in the new row. The beginning of a row that another
    program left at the end, without a line's end, is moved to the end of `<name>.torn`.

    Returns:
        The file that a torn row was moved to, if there was one.

    Raises:
        FewshotError: the file is no leaderboard or is damaged, it cannot be written, its lock is held
            for over a minute in which nothing is written, or a text is too long for a CSV. The file is then left untouched.
    """
    # A link is followed, or the new file would take the place of the link instead of what it names.
    path = Path(os.path.realpath(path))
    lock = path.with_name(f"{path.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path, lock):
            old, torn = _whole(path.read_bytes()) if path.exists() else (None, b"")
            new = _with_row(path, old, row)
            if torn:
                # First, so that a process killed in between leaves it twice rather than nowhere.
                _set_aside(path, torn)
            with replacing(path) as temporary:
                temporary.write_bytes(new)
    except Timeout as error:
        raise FewshotError(
            f"cannot add a row to {path}: another process has held {lock.name} for over {_LOCK_SECONDS:g} s; "
            "end it if it hangs"
        ) from error
    except OSError as error:
        raise FewshotError(
            f"cannot write {path}: {error.strerror or error}; choose a file that can be written to"
        ) from error
    return _torn_file(path) if torn else None


def read(path: Path | str) -> "pd.DataFrame":
    """The rows of a leaderboard that have numbers, oldest first, each column of the type that `Row` gives it.

    Rows of jobs that failed are left out, see `read_failed`; `frame.index` is the place of a row in the file, from 0.
    Needs no lock, so it works where nothing can be written. Columns of `Row` come first; those the
    file lacks are empty (empty text, NaN, or a nullable type's NA), those `Row` lacks follow as text.
    `attrs["torn"]` of the frame is the beginning of a row that another program left at the end, not among the rows; else
    empty.

    Raises:
        FewshotError: there is no such file, it cannot be read, it is no leaderboard, or it is damaged.
    """
    return _frame(Path(path), lambda failed: not failed)


def read_failed(path: Path | str) -> "pd.DataFrame":
    """The rows of a leaderboard that say why a job failed, as `read` returns the others.

    Raises:
        FewshotError: as `read`.
    """
    return _frame(Path(path), bool)


def write(path: Path | str, rows: Iterable[Mapping[str, str]], columns: Sequence[str]) -> None:
    """A leaderboard of rows that other leaderboards had, cell by cell as it stood there.

    Args:
        path: of the new file, which must not be there.
        rows: texts by column; a column that a row lacks stays empty.
        columns: of the new file, in their order.

    Raises:
        FewshotError: the file is there, or cannot be written.
    """
    path = Path(path)
    if path.exists():
        raise FewshotError(f"{path} is there already; choose another name")
    content = _line(columns) + b"".join(_line(row.get(name, "") for name in columns) for row in rows)
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise FewshotError(f"cannot write {path}: {error.strerror or error}; choose another name") from error


def texts(path: Path | str) -> tuple[list[str], list[dict[str, str]]]:
    """Columns and rows of a leaderboard as they stand in the file, for those who must change no letter."""
    path = Path(path)
    # Reading the types first refuses what `read` refuses.
    read(path)
    columns, rows = _parse(path, _whole(path.read_bytes())[0])
    return columns, [dict(zip(columns, cells, strict=True)) for cells in rows]


def _frame(path: Path, wanted: Callable[[str], bool]) -> "pd.DataFrame":
    # A run that only appends need not wait for pandas.
    import pandas as pd

    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise FewshotError(f"there is no leaderboard at {path}; the command `fewshot` makes one") from error
    except OSError as error:
        raise FewshotError(f"cannot read {path}: {error.strerror or error}") from error
    content, torn = _whole(content)
    columns, rows = _parse(path, content)
    reason = columns.index("failed") if "failed" in columns else None
    kept = [place for place, cells in enumerate(rows) if wanted("" if reason is None else cells[reason])]
    texts = dict(zip(columns, zip(*(rows[place] for place in kept), strict=True), strict=True)) if kept else {}
    nothing = ("",) * len(kept)
    order = COLUMNS + [name for name in columns if name not in _KINDS]
    numbers = [place + 1 for place in kept]
    frame = pd.DataFrame({name: _series(path, name, texts.get(name, nothing), numbers) for name in order})
    if len(kept) < len(rows):
        frame.index = pd.Index(kept, dtype="int64")
    frame.attrs["torn"] = torn.decode("utf-8", "backslashreplace")
    return frame


@contextlib.contextmanager
def _locked(path: Path, lock: Path) -> Iterator[None]:
    """Hold the lock; wait for it as long as others write, and a minute longer."""
    held = FileLock(lock, timeout=_LOCK_SECONDS, poll_interval=0.01)
    while True:
        before = _version(path)
        try:
            held.acquire()
            break
        except Timeout:
            # Many writers that come first by chance are no process that hangs.
            if _version(path) == before:
                raise
    try:
        yield
    finally:
        held.release()


def _version(path: Path) -> tuple[int, int] | None:
    """Changes with each append, which puts a new file in the place of the old one."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_size, found.st_mtime_ns


def _torn_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.torn")


def _set_aside(path: Path, torn: bytes) -> None:
    with open(_torn_file(path), "ab") as file:
        file.write(torn + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _whole(content: bytes) -> tuple[bytes, bytes]:
    """The lines that have an end, and what stands behind the last of them where the rows before it are whole."""
    end = len(content)
    if content.endswith((b"\n", b"\r")):
        return content, b""
    # A text of the torn row may have had lines' ends in it.
    for _ in range(_MOST_TORN_LINES):
        end = content.rfind(b"\n", 0, end)
        if end < 0:
            break
        if _closed(content[: end + 1]):
            return content[: end + 1], content[end + 1 :]
    return content, b""


def _closed(content: bytes) -> bool:
    """Whether no quote is open at the end: inside quotes a quote is written twice, so their number tells."""
    return content.count(b'"') % 2 == 0


def _with_row(path: Path, old: bytes | None, row: Row) -> bytes:
    if old is not None:
        columns, rows = _parse(path, old)
    else:
        columns, rows, old = COLUMNS, [], _line(COLUMNS)
    lacking = [name for name in COLUMNS if name not in columns]
    if lacking:
        columns = columns + lacking
        old = _line(columns) + b"".join(_line([*cells, *[""] * len(lacking)]) for cells in rows)
    values = {name: _cell(_KINDS[name], value) for name, value in asdict(row).items()}
    long = next((name for name, text in values.items() if len(text) > csv.field_size_limit()), None)
    if long:
        # No reader would take the file any more.
        raise FewshotError(f"{long} has {len(values[long])} letters; a cell of {path} holds {csv.field_size_limit()}")
    return old + _line(values.get(name, "") for name in columns)


def _cell(kind: type, value: object) -> str:
    if value is None:
        return ""
    # NumPy's numbers print with their type's name; Python's print the shortest text that reads back equal.
    return repr(kind(value)) if kind is not str else str(value)


def _line(cells: Iterable[str]) -> bytes:
    out = io.StringIO()
    # Python 3.11 quotes a lone \r only if the line's end has one, and a reader takes it for a line's end.
    csv.writer(out, lineterminator="\r\n").writerow(cells)
    # A path that is not UTF-8 reaches Python as lone surrogates, which no file can hold.
    line = out.getvalue().removesuffix("\r\n") + "\n"
    return line.encode("utf-8", "backslashreplace")


def _parse(path: Path, content: bytes) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the file's text; every row has as many cells as the header."""
    refusal = f"{path} is not a leaderboard of fewshot"
    if not content:
        # It may have been one: to start anew in silence would hide that its rows are gone.
        raise FewshotError(f"{refusal}: it is empty; remove it or choose another file")
    try:
        # Spreadsheets put a byte order mark in front.
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FewshotError(f"{refusal}: it is not UTF-8 text; choose another file") from error
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        columns = next(lines, [])
        lacking = [name for name in _ALWAYS if name not in columns]
        if lacking:
            raise FewshotError(f"{refusal}: its first line lacks {', '.join(lacking)}; choose another file")
        if len(set(columns)) < len(columns):
            raise FewshotError(f"{refusal}: a column stands twice in its first line; choose another file")
        rows = []
        for cells in lines:
            if cells and len(cells) != len(columns):
                raise FewshotError(
                    f"{path} is damaged: line {lines.line_num} has {len(cells)} of {len(columns)} cells; "
                    "mend that line or move the file away"
                )
            if cells:
                rows.append(cells)
    except csv.Error as error:
        raise FewshotError(
            f"{path} is damaged: line {lines.line_num}: {error}; mend it or move the file away"
        ) from error
    if not text.endswith(("\n", "\r")):
        raise FewshotError(f"{path} is damaged: its last line has no end; mend that line or move the file away")
    return columns, rows


def _series(path: Path, name: str, texts: tuple[str, ...], numbers: Sequence[int]) -> "pd.Series":
    import pandas as pd

    kind = _KINDS.get(name, str)
    if kind is str:
        return pd.Series(texts, dtype="str")
    values = []
    for number, text in zip(numbers, texts, strict=True):
        try:
            values.append(None if text == "" else _TRUTH[text.lower()] if kind is bool else kind(text))
        except (KeyError, ValueError) as error:
            raise FewshotError(
                f"{path} is damaged: row {number} has {name}={text!r}, expected {_EXPECTED[kind]}; "
                "mend it or move the file away"
            ) from error
    if kind is float:
        return pd.Series(values, dtype="float64")
    nullable = None in values or name == "git_dirty"
    dtype = {int: "Int64", bool: "boolean"}[kind] if nullable else {int: "int64", bool: "bool"}[kind]
    try:
        return pd.Series(values, dtype=dtype)
    except OverflowError:
        # A seed may have any number of digits.
        return pd.Series(values, dtype="object")
