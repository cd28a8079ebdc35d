"""Fetching public archives: checked, resumable by starting again, never half unpacked."""

import logging
import shutil
import tempfile
import zipfile
from pathlib import Path

import pooch
import requests

from fewshot.errors import FewshotError

_SECONDS = 20


def fetch_archives(archives: dict[str, dict], folder: Path, name: str) -> None:
    """Download and unpack each archive into `folder`.

    Args:
        archives: file name to `{url, md5}`.
        folder: where the archives' top folders go; archives already there are not fetched again.
        name: of the data set, for messages.

    Raises:
        FewshotError: no network, a wrong checksum, or an archive that would write outside `folder`.
    """
    pooch.get_logger().setLevel(logging.WARNING)
    for file, facts in archives.items():
        advice = f"download {facts['url']} by hand, unpack it in {folder}"
        try:
            path = pooch.retrieve(
                facts["url"],
                known_hash=f"md5:{facts['md5']}",
                path=folder,
                fname=file,
                downloader=pooch.HTTPDownloader(timeout=_SECONDS),
            )
        except (requests.RequestException, OSError) as error:
            reason = str(error).partition(" (Caused")[0][:120] or type(error).__name__
            raise FewshotError(
                f"{name} is not in {folder} and {file} could not be fetched ({type(error).__name__}: {reason}); {advice}"
            ) from error
        except ValueError as error:
            raise FewshotError(
                f"{file} of {name} does not have the published checksum {facts['md5']}; {advice}"
            ) from error
        unpack(Path(path), folder)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a zip file into `folder`; each of its top folders appears at once, when it is complete.

    Raises:
        FewshotError: the archive is damaged, or a name in it leads outside `folder`.
    """
    try:
        with zipfile.ZipFile(archive) as file, tempfile.TemporaryDirectory(dir=folder, prefix=".unpacking-") as scratch:
            for member in file.namelist():
                target = (Path(scratch) / member).resolve()
                if not target.is_relative_to(Path(scratch).resolve()):
                    raise FewshotError(
                        f"{archive} holds the path {member!r}, which leads outside its folder; do not use it"
                    )
            file.extractall(scratch)
            for part in sorted(Path(scratch).iterdir()):
                if part.name == "__MACOSX":
                    continue
                if (folder / part.name).exists():
                    continue
                shutil.move(part, folder / part.name)
    except zipfile.BadZipFile as error:
        raise FewshotError(f"{archive} is damaged ({error}); delete it and start again") from error
