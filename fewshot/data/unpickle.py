"""Reading pickles of strangers: NumPy arrays and plain containers, and nothing else.

While a pickle is read, it gets stand-ins that only record what they are given; arrays are made of the records
afterwards, when no instruction of the pickle can reach them any more.
"""

import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from fewshot.errors import FewshotError

_MODULES = {"numpy", "numpy.core.multiarray", "numpy._core.multiarray", "numpy.core.numeric", "numpy._core.numeric"}
_TYPES = {"b1", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"}


class _Refused(Exception):
    pass


class _Type:
    """What a pickle says of an array's type: one of `_TYPES` and its byte order."""

    __slots__ = ("name", "order")

    def __init__(self, name):
        self.name, self.order = name, "|"

    def __setstate__(self, state):
        # Anything behind the byte order describes records and objects, which images have not.
        if any(part is not None for part in state[2:5]):
            raise _Refused("an array of records")
        self.order = state[1]

    def made(self) -> np.dtype:
        name = str(self.name).lstrip("<>=|")
        if name not in _TYPES or self.order not in ("<", ">", "=", "|"):
            raise _Refused(f"an array of type {self.name!r}")
        return np.dtype(("" if self.order == "|" else self.order) + name)


class _Array:
    """What a pickle says of an array: shape, type, order and bytes."""

    __slots__ = ("fortran", "kind", "raw", "shape")

    def __init__(self, shape=(0,), kind=None, fortran=False, raw=b""):
        self.shape, self.kind, self.fortran, self.raw = shape, kind, fortran, raw

    def __setstate__(self, state):
        self.shape, self.kind, self.fortran, self.raw = state[-4:]

    def made(self) -> np.ndarray:
        # Bytes of Python 2 are text here.
        raw = self.raw.encode("latin1") if isinstance(self.raw, str) else self.raw
        if not isinstance(self.kind, _Type) or not isinstance(raw, bytes | bytearray):
            raise _Refused("an array of objects")
        shape = tuple(int(side) for side in self.shape)
        kind = self.kind.made()
        if min(shape, default=0) < 0 or math.prod(shape) * kind.itemsize != len(raw):
            raise ValueError(f"an array of shape {shape} with {len(raw)} bytes")
        return np.frombuffer(raw, kind).reshape(shape, order="F" if self.fortran else "C")


# Each is a class without attributes: a pickle may try to set some on what it is given.
class _MakeType:
    __slots__ = ()

    def __call__(self, name, align=False, copy=False):
        return _Type(name)


class _MakeArray:
    __slots__ = ()

    def __call__(self, *_):
        return _Array()


class _MakeFromBuffer:
    __slots__ = ()

    def __call__(self, buffer, kind, shape, order):
        # Of a number bytes() would make as many zeros.
        if not isinstance(buffer, bytes | bytearray):
            raise _Refused("an array of something that is no bytes")
        return _Array(shape, kind, order == "F", bytes(buffer))


class _MakeScalar:
    __slots__ = ()

    def __call__(self, kind, raw):
        return _Array((), kind, False, raw)


class _Encode:
    """Bytes in pickles of Python 2 protocols are text with this one encoding; no other codec may run."""

    __slots__ = ()

    def __call__(self, text, encoding):
        if encoding != "latin1":
            raise _Refused(f"_codecs.encode with {encoding!r}")
        return str(text).encode("latin1")


_NUMPY = {
    "dtype": _MakeType,
    "_reconstruct": _MakeArray,
    "_frombuffer": _MakeFromBuffer,
    "scalar": _MakeScalar,
    # Named as an argument of `_reconstruct` alone; a string cannot be called.
    "ndarray": lambda: "ndarray",
}


class _PlainUnpickler(pickle.Unpickler):
    """An unpickler that knows a handful of names; a pickle can ask for any function of any module."""

    def find_class(self, module: str, name: str) -> Any:
        if module in _MODULES and name in _NUMPY:
            return _NUMPY[name]()
        if (module, name) == ("_codecs", "encode"):
            return _Encode()
        if (module, name) == ("collections", "OrderedDict"):
            return dict
        raise _Refused(f"{module}.{name}")


def unpickle(path: Path | str) -> Any:
    """The content of a pickle that holds NumPy arrays, numbers, text, lists, tuples and dicts.

    Text of Python 2 is read as Latin-1.

    Raises:
        FewshotError: the file is no pickle, or asks for anything else; what it asked for was not run.
    """
    try:
        with open(path, "rb") as file:
            return _finished(_PlainUnpickler(file, encoding="latin1").load())
    except _Refused as error:
        raise FewshotError(
            f"{path} asks for {error}, which no data set needs; it was not run, do not use this file"
        ) from error
    except OSError as error:
        raise FewshotError(f"{path} cannot be read ({error.strerror or error}); check the file") from error
    except Exception as error:
        # A damaged pickle can raise anything: the opcodes are a small program.
        raise FewshotError(f"{path} is damaged ({type(error).__name__}: {error}); get the file again") from error


def _finished(content: Any, known: dict[int, Any] | None = None) -> Any:
    """The content with arrays in the place of their records; what is there many times is made once."""
    known = {} if known is None else known
    if id(content) not in known:
        known[id(content)] = _made(content, known)
    return known[id(content)]


def _made(content: Any, known: dict[int, Any]) -> Any:
    if isinstance(content, _Array):
        array = content.made()
        return array[()] if array.ndim == 0 else array
    if isinstance(content, dict):
        return {_finished(key, known): _finished(value, known) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return type(content)(_finished(part, known) for part in content)
    if isinstance(content, _Type):
        return content.made()
    if content is None or isinstance(content, bool | int | float | complex | str | bytes | bytearray):
        return content
    raise _Refused(type(content).__name__)
