import collections
import os
import pickle
import subprocess

import numpy as np
import pytest

from fewshot.data.unpickle import unpickle
from fewshot.errors import FewshotError


class Runs:
    """What a hostile pickle is: an object that says which function makes it."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_and_plain_containers_come_back(tmp_path, protocol):
    content = {
        "image_data": np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "class_dict": collections.OrderedDict(n01=[0, 1], n02=(2, 3)),
        "number": np.int64(7),
        "names": [b"bytes", "text", None, True, 1.5],
    }
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(content, protocol))
    found = unpickle(tmp_path / "a.pkl")
    assert found.keys() == content.keys()
    for key in ("image_data", "fortran"):
        assert np.array_equal(found[key], content[key])
        assert found[key].dtype == content[key].dtype
    assert found["class_dict"] == dict(content["class_dict"])
    assert (found["number"], found["names"]) == (7, content["names"])


def test_a_pickle_of_python_2_comes_back(tmp_path):
    # What Python 2 wrote for {"data": array([1, 2], uint8), "names": ["a.png"]}, protocol 2: its strings are bytes.
    old = (
        b"\x80\x02}q\x00(U\x04dataq\x01cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85q\x04"
        b"U\x01bq\x05\x87q\x06Rq\x07(K\x01K\x02\x85q\x08cnumpy\ndtype\nq\tU\x02u1q\nK\x00K\x01\x87q\x0bRq\x0c(K\x03U\x01|"
        b"q\rNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x0eb\x89U\x02\x01\xffq\x0ftq\x10bU\x05namesq\x11]q\x12U\x05a.pngq\x13au."
    )
    (tmp_path / "old.pkl").write_bytes(old)
    found = unpickle(tmp_path / "old.pkl")
    assert found["data"].tolist() == [1, 255]
    assert found["names"] == ["a.png"]


@pytest.mark.parametrize(
    ("thing", "word"),
    [
        (Runs(os.system, "touch escaped"), "system"),
        (Runs(subprocess.check_call, ["touch", "escaped"]), "check_call"),
        (Runs(eval, "open('escaped', 'w')"), "eval"),
        (Runs(getattr, {}, "clear"), "getattr"),
        (Runs(np.fromfile, "/etc/passwd"), "fromfile"),
        (Runs(np.save, "escaped", [1]), "save"),
        (collections.Counter("aa"), "Counter"),
        (np.array([1, Runs(os.system, "touch escaped")], dtype=object), "system"),
    ],
)
def test_anything_else_is_refused_and_not_run(tmp_path, monkeypatch, thing, word):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.pkl").write_bytes(pickle.dumps({"image_data": thing}))
    with pytest.raises(FewshotError, match=f"{word}, which no data set needs; it was not run"):
        unpickle("bad.pkl")
    assert [path.name for path in tmp_path.iterdir()] == ["bad.pkl"]


ALLOWED_NAMES_ABUSED = {
    "an object array of chosen pointers": b"cnumpy\nndarray\n((I1\ntS'O'\nS'AAAAAAAA'\ntR.",
    "a type with fields": b"cnumpy\ndtype\n(S'V8'\nI00\nI01\ntR(I3\nS'|'\nN(S'a'\nt(dI8\nI1\nI27\ntb.",
    "an attribute set on a function": b"cnumpy.core.numeric\n_frombuffer\n(N(dS'__defaults__'\n(S'x'\ntstb.",
    "an array of objects": pickle.dumps(np.array([{}], dtype=object)),
    "more bytes than its shape": pickle.dumps(np.zeros(3, np.uint8)).replace(b"K\x03\x85", b"K\x02\x85"),
    "a set": pickle.dumps({1, 2}),
    "an array of a length alone": b"cnumpy._core.numeric\n_frombuffer\n(I3000000\ncnumpy\ndtype\n(S'u1'\ntR(I3000000\nt(S'C'\ntR.",
}


@pytest.mark.parametrize("abuse", ALLOWED_NAMES_ABUSED)
def test_names_that_are_allowed_give_no_hold_on_memory_or_functions(tmp_path, abuse):
    (tmp_path / "bad.pkl").write_bytes(ALLOWED_NAMES_ABUSED[abuse])
    before = np._core.numeric._frombuffer.__defaults__
    with pytest.raises(FewshotError, match=r"bad\.pkl") as caught:
        unpickle(tmp_path / "bad.pkl")
    assert "\n" not in str(caught.value)
    assert np._core.numeric._frombuffer.__defaults__ == before


def test_another_codec_is_refused(tmp_path):
    (tmp_path / "bad.pkl").write_bytes(b"c_codecs\nencode\n(Vabc\nVrot13\ntR.")
    with pytest.raises(FewshotError, match="rot13"):
        unpickle(tmp_path / "bad.pkl")


@pytest.mark.parametrize("content", [b"", b"no pickle", pickle.dumps(np.zeros(100))[:-50], b"\x80\x05N"])
def test_a_damaged_pickle_is_one_line(tmp_path, content):
    (tmp_path / "bad.pkl").write_bytes(content)
    with pytest.raises(FewshotError, match=r"bad\.pkl is damaged") as caught:
        unpickle(tmp_path / "bad.pkl")
    assert "\n" not in str(caught.value)


def test_a_missing_pickle_is_named(tmp_path):
    with pytest.raises(FewshotError, match=r"gone\.pkl cannot be read"):
        unpickle(tmp_path / "gone.pkl")


def test_what_is_there_many_times_is_made_once(tmp_path):
    # Twenty-five lists of ten times the list before: made one by one these were more than memory has.
    content = [0]
    for _ in range(25):
        content = [content] * 10
    (tmp_path / "deep.pkl").write_bytes(pickle.dumps(content))
    found = unpickle(tmp_path / "deep.pkl")
    assert found[0] is found[9]
    assert len(found) == 10
