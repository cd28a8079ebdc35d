"""Errors of the command line: one line a user can act on, and an exit code that is not 0."""

import contextlib
import os
import sys
from collections.abc import Iterator

from fewshot.errors import FewshotError

FULL = (
    "the GPU's memory is full; other programs on it need some, and less is needed with a smaller training.tasks_per_step or training.batch_size, "
    "trainer.precision=bf16, learner.tasks=loop for MAML and its kin, or trainer.accelerator=cpu"
)


@contextlib.contextmanager
def one_line_errors(program: str, interrupted: str = "interrupted") -> Iterator[None]:
    """Turn a `FewshotError`, or a GPU without memory, into one line on stderr and exit code 2, an interruption into exit code 130.

    A reader that stops early, as `head` does, is no error to speak of: exit code 1 without a word.

    With the environment variable FEWSHOT_TRACEBACK set, the traceback is shown instead.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough; Python would complain again when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except (FewshotError, RuntimeError) as error:
        line = str(error) if isinstance(error, FewshotError) else FULL if _is_full_memory(error) else None
        if line is None or os.environ.get("FEWSHOT_TRACEBACK"):
            raise
        print(f"{program}: error: {line}", file=sys.stderr)
        raise SystemExit(2) from error
    except KeyboardInterrupt:
        print(f"{program}: {interrupted}", file=sys.stderr)
        raise SystemExit(130) from None


def _is_full_memory(error: RuntimeError) -> bool:
    # By its name, for which torch need not be imported; one of several processes says it in the text.
    return "OutOfMemoryError" in f"{type(error).__name__} {error}" or "out of memory" in str(error)
