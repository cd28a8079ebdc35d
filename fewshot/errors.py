"""The one exception that a user is meant to read."""

import contextlib
import traceback
from collections.abc import Iterator
from pathlib import Path


class FewshotError(Exception):
    """Something given from outside (config, file, argument) cannot be used.

    The message is one line: what was given, what was expected, what to do. The command line
    prints it without a traceback and exits with a code that is not 0.
    """

    def __init__(self, message: str):
        super().__init__(" ".join(str(message).split()))


def check_kind(name: str, given: object, kind: type, such_as: str) -> None:
    """Raise a FewshotError unless what was given in Python is of a kind.

    Args:
        name: of the argument.
        given: for it.
        kind: that is expected.
        such_as: an expression that makes one.
    """
    if not isinstance(given, kind):
        raise FewshotError(f"{name} is of type {type(given).__name__}; expected {such_as}")


@contextlib.contextmanager
def tried(what: str, on: str) -> Iterator[None]:
    """Around code of a user's own that is tried out: what it raises is a FewshotError of one line that says where.

    Args:
        what: is tried, such as `head: Mine`.
        on: what it is given.
    """
    try:
        yield
    except FewshotError:
        raise
    except Exception as error:
        # The line of the user's own rather than that of the library which it called.
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _of_libraries(frame.filename)]
        where = f", {Path(frames[-1].filename).name} line {frames[-1].lineno}" if frames else ""
        reason = (str(error).splitlines() or [""])[0]
        raise FewshotError(f"{what} fails on {on}{where}: {type(error).__name__}: {reason}") from error


def _of_libraries(file: str) -> bool:
    path = Path(file)
    own = Path(__file__).parent in path.parents or Path(contextlib.__file__).parent in path.parents
    return own or bool({"site-packages", "dist-packages"} & set(path.parts))
