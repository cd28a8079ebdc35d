import hashlib
import http.server
import io
import tarfile
import threading
import zipfile

import pytest

from fewshot.data.download import fetch_archives, unpack
from fewshot.errors import FewshotError


class Server(http.server.ThreadingHTTPServer):
    """A web server on this machine that can cut connections and remembers what it was asked."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.asked, self.cuts, self.knows_ranges = {}, [], [], True

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        asked = self.headers.get("Range")
        self.server.asked.append(asked)
        content = self.server.files.get(self.path.lstrip("/"))
        if content is None:
            self.send_error(404)
            return
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and self.server.knows_ranges else 0
        if start and start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        stop = self.server.cuts.pop(0) if self.server.cuts else len(content)
        # Less than was announced: the connection is closed before its time.
        self.wfile.write(content[start:stop])


@pytest.fixture
def server():
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def archive(server, tmp_path):
    """A zip on the server, as `fetch_archives` takes it, and the folder it goes into."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as file:
        file.writestr("photos/a.txt", "a" * 500_000)
    server.files["photos.zip"] = memory.getvalue()
    (tmp_path / "raw").mkdir()
    md5 = hashlib.md5(memory.getvalue()).hexdigest()
    return {"photos.zip": {"url": f"{server.address}/photos.zip", "md5": md5}}, tmp_path / "raw"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_cut_connection_is_gone_on_with_in_the_same_call(server, archive):
    server.cuts = [100_000, 300_000]
    fetch_archives(*archive, "photos")
    # Whole blocks of 65,536 bytes are kept.
    assert server.asked == [None, "bytes=65536-", "bytes=262144-"]
    assert (archive[1] / "photos/a.txt").read_text() == "a" * 500_000
    assert names(archive[1]) == ["photos", "photos.zip"]


def test_and_in_a_later_call(server, archive):
    server.cuts = [100_000, 200_000, 300_000]
    with pytest.raises(FewshotError, match=r"photos\.zip could not be fetched .* by hand into") as caught:
        fetch_archives(*archive, "photos")
    assert "\n" not in str(caught.value)
    assert names(archive[1]) == [".photos.zip.part"]
    server.asked.clear()
    fetch_archives(*archive, "photos")
    assert server.asked == ["bytes=262144-"]
    assert names(archive[1]) == ["photos", "photos.zip"]


def test_a_server_that_knows_no_ranges_is_asked_from_the_start(server, archive):
    server.cuts, server.knows_ranges = [100_000], False
    fetch_archives(*archive, "photos")
    assert names(archive[1]) == ["photos", "photos.zip"]


def test_a_part_that_is_longer_than_the_file_is_thrown_away(server, archive):
    (archive[1] / ".photos.zip.part").write_bytes(b"x" * 900_000)
    fetch_archives(*archive, "photos")
    assert server.asked == ["bytes=900000-", None]


def test_a_wrong_checksum_leaves_nothing(server, archive):
    archives, folder = archive
    wrong = {"photos.zip": archives["photos.zip"] | {"md5": "0" * 32}}
    with pytest.raises(FewshotError, match=r"photos\.zip of photos does not have the published checksum 0000"):
        fetch_archives(wrong, folder, "photos")
    assert names(folder) == []


def test_what_is_not_on_the_server_is_one_line(server, archive):
    server.files.clear()
    with pytest.raises(FewshotError, match=r"photos\.zip could not be fetched \(HTTPError: 404"):
        fetch_archives(*archive, "photos")
    assert len(server.asked) == 1


def test_an_archive_that_is_there_is_not_asked_for(server, archive):
    (archive[1] / "photos.zip").write_bytes(server.files["photos.zip"])
    fetch_archives(*archive, "photos")
    assert server.asked == []
    assert (archive[1] / "photos/a.txt").is_file()


def zipped(path, members):
    with zipfile.ZipFile(path, "w") as file:
        for name in members:
            file.writestr(name, "content")
    return path


def tarred(path, *members):
    with tarfile.open(path, "w:gz") as file:
        for member in members:
            info = tarfile.TarInfo(member) if isinstance(member, str) else member
            info.size = 7 if info.isreg() else 0
            file.addfile(info, io.BytesIO(b"content") if info.isreg() else None)
    return path


def special(name, kind, target="/etc/passwd"):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def test_top_files_and_folders_of_a_tar_appear(tmp_path):
    (tmp_path / "into" / "set").mkdir(parents=True)
    (tmp_path / "into/set/mine").write_text("mine")
    unpack(tarred(tmp_path / "a.tgz", "set/b", "other/c", "attributes.txt"), tmp_path / "into")
    assert names(tmp_path / "into") == ["attributes.txt", "other", "set"]
    # What was there is left alone.
    assert names(tmp_path / "into/set") == ["mine"]


@pytest.mark.parametrize(
    "bad",
    [
        "../escaped.txt",
        "set/../../escaped.txt",
        "/tmp/escaped.txt",
        special("set/link", tarfile.SYMTYPE),
        special("set/link", tarfile.LNKTYPE),
        special("set/device", tarfile.CHRTYPE),
        special("set/pipe", tarfile.FIFOTYPE),
    ],
)
def test_a_tar_that_reaches_outside_is_refused_and_leaves_nothing(tmp_path, bad):
    (tmp_path / "into").mkdir()
    name = bad if isinstance(bad, str) else bad.name
    with pytest.raises(FewshotError, match=rf"a\.tgz holds .*'{name}', which .* do not use it"):
        unpack(tarred(tmp_path / "a.tgz", "set/fine", bad), tmp_path / "into")
    assert names(tmp_path / "into") == []
    assert names(tmp_path) == ["a.tgz", "into"]


@pytest.mark.parametrize("bad", ["../escaped.txt", "/tmp/escaped.txt"])
def test_so_is_a_zip(tmp_path, bad):
    (tmp_path / "into").mkdir()
    with pytest.raises(FewshotError, match=rf"'{bad}', which leads outside"):
        unpack(zipped(tmp_path / "bad.zip", ["fine/a.txt", bad]), tmp_path / "into")
    assert names(tmp_path / "into") == []
    assert names(tmp_path) == ["bad.zip", "into"]


@pytest.mark.parametrize("kind", ["zip", "tgz", "nothing", "empty"])
def test_a_damaged_archive_is_one_line(tmp_path, kind):
    (tmp_path / "into").mkdir()
    if kind == "zip":
        content = zipped(tmp_path / "a", ["set/a"]).read_bytes()[:-30]
    elif kind == "tgz":
        content = tarred(tmp_path / "a", "set/a", "set/b").read_bytes()[:-30]
    else:
        content = b"no archive" * (kind == "nothing")
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(FewshotError, match="a is damaged") as caught:
        unpack(tmp_path / "a", tmp_path / "into")
    assert "\n" not in str(caught.value)
    assert names(tmp_path / "into") == []
