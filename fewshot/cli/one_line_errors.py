"""Errors of the command line: one line a user can act on, and an exit code that is not 0."""

import contextlib
import os
import sys
from collections.abc import Iterator

from fewshot.errors import FewshotError


@contextlib.contextmanager
def one_line_errors(program: str) -> Iterator[None]:
    """Turn a `FewshotError` into one line on stderr and exit code 2.

    With the environment variable FEWSHOT_TRACEBACK set, the traceback is shown instead.
    """
    try:
        yield
    except FewshotError as error:
        if os.environ.get("FEWSHOT_TRACEBACK"):
            raise
        print(f"{program}: error: {error}", file=sys.stderr)
        raise SystemExit(2) from error
    except KeyboardInterrupt:
        print(f"{program}: interrupted; resume=true goes on from the last checkpoint", file=sys.stderr)
        raise SystemExit(130) from None
