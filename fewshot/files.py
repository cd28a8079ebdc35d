"""Writing files so that a reader never sees half of one."""

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from fewshot.errors import FewshotError


@contextlib.contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Yield a temporary name beside `path`; what was written there takes its place at the end.

    The new content is on disk before the name changes, so a crash leaves the old file or the new
    one, never a mixture. If the body raises, `path` is untouched and the temporary file is gone.
    Where `path` is a link, what it points to is replaced.

    Raises:
        FewshotError: the folder cannot be made or written to, or `path` is something else than a file.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        raise FewshotError(f"cannot write {path}: it is no file; give the name of a file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=path.suffix)
        os.close(handle)
    except OSError as error:
        raise FewshotError(
            f"cannot write {path}: {error.strerror or error}; choose a folder that can be written to"
        ) from error
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        # mkstemp makes private files; a result is as readable as any other file of its owner.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path | str, text: str) -> None:
    """Write `text` as UTF-8 to `path`, all of it or nothing."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def file_sha256(path: Path | str | None) -> str:
    """sha256 of a file's content; empty for no file."""
    if path is None:
        return ""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
