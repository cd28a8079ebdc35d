"""Reading pickles of strangers: NumPy arrays and plain containers, and nothing else."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from fewshot.errors import FewshotError

_NUMPY = {"_reconstruct", "scalar", "ndarray", "dtype", "_frombuffer"}
_MODULES = {"numpy", "numpy.core.multiarray", "numpy._core.multiarray", "numpy.core.numeric", "numpy._core.numeric"}


class _Refused(Exception):
    pass


class _PlainUnpickler(pickle.Unpickler):
    """An unpickler that knows a handful of names; a pickle can ask for any function of any module."""

    def find_class(self, module: str, name: str) -> Any:
        if module in _MODULES and name in _NUMPY:
            if name == "ndarray":
                return np.ndarray
            if name == "dtype":
                return np.dtype
            # NumPy 2 moved these; old pickles name the old place, which still answers but with a warning.
            place = np._core.numeric if name == "_frombuffer" else np._core.multiarray
            return getattr(place, name)
        if (module, name) == ("_codecs", "encode"):
            return _latin1
        if (module, name) == ("collections", "OrderedDict"):
            return dict
        raise _Refused(f"{module}.{name}")


def _latin1(text: str, encoding: str) -> bytes:
    # Bytes in pickles of Python 2 protocols are text with this one encoding; no other codec may run.
    if encoding != "latin1":
        raise _Refused(f"_codecs.encode with {encoding!r}")
    return text.encode("latin1")


def unpickle(path: Path | str) -> Any:
    """The content of a pickle that holds NumPy arrays, numbers, text, lists, tuples and dicts.

    Text of Python 2 is read as Latin-1.

    Raises:
        FewshotError: the file is no pickle, or asks for anything else; what it asked for was not run.
    """
    try:
        with open(path, "rb") as file:
            content = _PlainUnpickler(file, encoding="latin1").load()
    except _Refused as error:
        raise FewshotError(
            f"{path} asks for {error}, which no data set needs; it was not run, do not use this file"
        ) from error
    except OSError as error:
        raise FewshotError(f"{path} cannot be read ({error.strerror or error})") from error
    except Exception as error:
        # A damaged pickle can raise anything: the opcodes are a small program.
        raise FewshotError(f"{path} is damaged ({type(error).__name__}: {error}); get the file again") from error
    return content
