"""Fetching public archives: checked, resumed after a cut connection, never half unpacked."""

import contextlib
import logging
import shutil
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pooch
import requests
import urllib3
from filelock import FileLock

from fewshot.errors import FewshotError
from fewshot.screen import is_screen

_SECONDS = 20
_TRIES = 3
_PIECE = 1 << 20
# What the readers of archives raise when they meet damage, besides an OSError without a number; RuntimeError
# and NotImplementedError are for members that a flipped bit made encrypted or of another kind.
_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, ValueError, RuntimeError, OverflowError)


def fetch_archives(archives: dict[str, dict], folder: Path, name: str) -> None:
    """Download and unpack each archive into `folder`.

    What a cut connection left is kept beside the archive and gone on with, in this call and in later ones.

    Args:
        archives: file name to `{url, md5}` or `{url, sha256}`.
        folder: where the archives' top folders go; archives already there are not fetched again.
        name: of the data set, for messages.

    Raises:
        FewshotError: no network, a wrong checksum, or an archive that would write outside `folder`.
    """
    pooch.get_logger().setLevel(logging.WARNING)
    for file, facts in archives.items():
        kind = "sha256" if "sha256" in facts else "md5"
        advice = f"download {facts['url']} by hand into {folder}"
        # Two data sets may need one archive, and two processes prepare at once.
        with FileLock(_lock(folder / file)):
            try:
                path = pooch.retrieve(
                    facts["url"],
                    known_hash=f"{kind}:{facts[kind]}",
                    path=folder,
                    fname=file,
                    downloader=_Resuming(folder / file),
                )
            except (requests.RequestException, OSError) as error:
                reason = str(error).partition(" (Caused")[0][:120] or type(error).__name__
                raise FewshotError(
                    f"{name} is not in {folder} and {file} could not be fetched ({type(error).__name__}: {reason}); {advice}"
                ) from error
            except ValueError as error:
                # An archive that was here before was wrong as well, or it would not have been fetched.
                (folder / file).unlink(missing_ok=True)
                raise FewshotError(
                    f"{file} of {name} does not have the published checksum {facts[kind]}; {advice}"
                ) from error
            unpack(Path(path), folder)


def _lock(archive: Path) -> Path:
    archive.parent.mkdir(parents=True, exist_ok=True)
    return archive.with_name(f".{archive.name}.lock")


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a zip or tar file into `folder`; each of its top folders and files appears at once, when it is complete.

    Raises:
        FewshotError: the archive is damaged, a name in it leads outside `folder`, or it holds links or devices.
    """
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".unpacking-") as scratch:
            # By name: a tar whose last file is a zip looks like a zip.
            if archive.suffix.lower() == ".zip":
                _unpack_zip(archive, Path(scratch))
            else:
                _unpack_tar(archive, Path(scratch))
            for part in sorted(Path(scratch).iterdir()):
                if part.name != "__MACOSX" and not (folder / part.name).exists():
                    shutil.move(part, folder / part.name)
    except (*_DAMAGE, OSError) as error:
        # gzip tells of damage by OSError, as the disk tells of its own.
        if isinstance(error, OSError) and error.errno is not None:
            raise FewshotError(
                f"cannot unpack {archive} into {folder}: {error.strerror}; free disk space or choose a folder that can be written to"
            ) from error
        raise FewshotError(f"{archive} is damaged ({error}); delete it and start again") from error


def _unpack_zip(archive: Path, scratch: Path) -> None:
    with zipfile.ZipFile(archive) as file:
        for member in file.namelist():
            _check_inside(archive, member, scratch)
        file.extractall(scratch)


def _unpack_tar(archive: Path, scratch: Path) -> None:
    with tarfile.open(archive) as file:
        for member in file:
            _check_inside(archive, member.name, scratch)
            if not (member.isreg() or member.isdir()):
                raise FewshotError(
                    f"{archive} holds {member.name!r}, which is neither a file nor a folder; do not use it"
                )
        # tarfile takes a damaged header for the end, and gzip's checksum comes after all the rest.
        file.fileobj.seek(file.offset)
        if any(file.fileobj.read(tarfile.BLOCKSIZE) or b"no end"):
            raise tarfile.ReadError("it ends in the middle")
        while file.fileobj.read(_PIECE):
            pass
        # Python 3.11.4 has the filter; what it guards against was looked at above.
        file.extractall(scratch, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))


def _check_inside(archive: Path, member: str, scratch: Path) -> None:
    if not (scratch / member).resolve().is_relative_to(scratch.resolve()):
        raise FewshotError(f"{archive} holds the path {member!r}, which leads outside its folder; do not use it")


class _Resuming:
    """A downloader for pooch that goes on where an earlier one was cut off.

    Args:
        target: the archive; what is there of it lies beside it, as `.<name>.part`.
    """

    def __init__(self, target: Path):
        self.name, self.part = target.name, target.with_name(f".{target.name}.part")

    def __call__(self, url: str, output_file: str, _) -> None:
        """Fetch `url`; `output_file`, which pooch checks and renames, is written when all of it is there."""
        for left in reversed(range(_TRIES)):
            try:
                self._fetch(url)
                break
            except (requests.ConnectionError, requests.Timeout):
                if not left:
                    raise
        # A wrong checksum must not be gone on with.
        shutil.move(self.part, output_file)

    def _fetch(self, url: str) -> None:
        have = self.part.stat().st_size if self.part.exists() else 0
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        with requests.get(url, headers=headers, stream=True, timeout=_SECONDS) as answer:
            if answer.status_code == requests.codes.requested_range_not_satisfiable:
                self.part.unlink(missing_ok=True)
                raise requests.ConnectionError(f"{url} is shorter than what was fetched of it")
            answer.raise_for_status()
            goes_on = answer.status_code == requests.codes.partial_content
            if goes_on and not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
                self.part.unlink(missing_ok=True)
                raise requests.ConnectionError(f"{url} went on elsewhere than at byte {have}")
            have = have if goes_on else 0
            length = int(answer.headers["Content-Length"]) + have if "Content-Length" in answer.headers else None
            with open(self.part, "ab" if goes_on else "wb") as file, _bar(self.name, length) as advance:
                advance(have)
                try:
                    # Unlike `iter_content` this hands on what came of a piece before a cut, and leaves a .tgz
                    # packed that a server calls "Content-Encoding: gzip".
                    for piece in answer.raw.stream(_PIECE, decode_content=False):
                        file.write(piece)
                        advance(len(piece))
                except urllib3.exceptions.HTTPError as error:
                    raise requests.ConnectionError(f"the connection was cut: {error}") from error
        if length is not None and self.part.stat().st_size < length:
            raise requests.ConnectionError(f"{url} ended after {self.part.stat().st_size} of {length} bytes")


@contextlib.contextmanager
def _bar(name: str, length: int | None) -> Iterator[Callable[[int], None]]:
    """Yield what is told the bytes of each piece; it draws a bar on a terminal and nothing elsewhere."""
    if not is_screen(sys.stderr.isatty()):
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(f"fetching {name}", total=length)
        yield lambda count: progress.advance(task, count)
