import errno
import hashlib
import http.server
import io
import sys
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
        self.files, self.asked, self.cuts, self.headers = {}, [], [], {}
        self.knows_ranges, self.astray = True, 0

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
            first = start + self.server.astray
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        for name, value in self.server.headers.items():
            self.send_header(name, value)
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
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def test_a_cut_connection_is_gone_on_with_in_the_same_call(server, archive):
    server.cuts = [100_000, 300_000]
    fetch_archives(*archive, "photos")
    assert server.asked == [None, "bytes=100000-", "bytes=300000-"]
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
    assert server.asked == ["bytes=300000-"]
    assert names(archive[1]) == ["photos", "photos.zip"]


def test_a_server_that_knows_no_ranges_is_asked_from_the_start(server, archive):
    server.cuts, server.knows_ranges = [100_000], False
    fetch_archives(*archive, "photos")
    assert server.asked == [None, "bytes=100000-"]
    assert (archive[1] / "photos/a.txt").read_text() == "a" * 500_000
    assert names(archive[1]) == ["photos", "photos.zip"]


def test_a_part_that_is_longer_than_the_file_is_thrown_away(server, archive):
    (archive[1] / ".photos.zip.part").write_bytes(b"x" * 900_000)
    fetch_archives(*archive, "photos")
    assert server.asked == ["bytes=900000-", None]
    assert names(archive[1]) == ["photos", "photos.zip"]


def test_so_is_a_part_when_the_server_goes_on_elsewhere(server, archive):
    (archive[1] / ".photos.zip.part").write_bytes(server.files["photos.zip"][:100_000])
    server.astray = 1
    fetch_archives(*archive, "photos")
    assert server.asked == ["bytes=100000-", None]


def test_what_the_server_calls_packed_is_kept_as_it_is(server, tmp_path):
    content = tarred(tmp_path / "a.tgz", "set/a").read_bytes()
    server.files["a.tgz"], server.headers = content, {"Content-Encoding": "x-gzip"}
    facts = {"url": f"{server.address}/a.tgz", "md5": hashlib.md5(content).hexdigest()}
    fetch_archives({"a.tgz": facts}, tmp_path / "raw", "set")
    assert names(tmp_path / "raw") == ["a.tgz", "set"]


def test_a_bar_is_drawn_on_a_terminal_only(archive, monkeypatch, capsys):
    fetch_archives(*archive, "photos")
    assert capsys.readouterr().err == ""
    (archive[1] / "photos.zip").unlink()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    # On a "dumb" one rich draws nothing.
    monkeypatch.setenv("TERM", "xterm")
    fetch_archives(*archive, "photos")
    assert "fetching photos.zip" in capsys.readouterr().err


def test_a_checksum_may_be_sha256(server, archive):
    archives, folder = archive
    facts = {"url": archives["photos.zip"]["url"], "sha256": hashlib.sha256(server.files["photos.zip"]).hexdigest()}
    fetch_archives({"photos.zip": facts}, folder, "photos")
    assert names(folder) == ["photos", "photos.zip"]
    (folder / "photos.zip").unlink()
    with pytest.raises(FewshotError, match="does not have the published checksum 1111"):
        fetch_archives({"photos.zip": facts | {"sha256": "1" * 64}}, folder, "photos")


def test_a_wrong_checksum_leaves_nothing(server, archive):
    archives, folder = archive
    (folder / "photos.zip").write_bytes(b"an earlier edition")
    server.cuts = [100_000]
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
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name in members:
            file.writestr(name, "content")
    return path


def tarred(path, *members):
    with tarfile.open(path, "w" if path.suffix == ".tar" else "w:gz") as file:
        for member in members:
            info = tarfile.TarInfo(member) if isinstance(member, str) else member
            info.size = 7 if info.isreg() else 0
            file.addfile(info, io.BytesIO(b"content") if info.isreg() else None)
    return path


def special(name, kind, target="/etc/passwd"):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize("name", ["a.tgz", "a.tar.gz", "a.tar", "a.zip"])
def test_top_files_and_folders_appear(tmp_path, name):
    (tmp_path / "into" / "set").mkdir(parents=True)
    (tmp_path / "into/set/mine").write_text("mine")
    members = ["set/b", "other/c", "attributes.txt"]
    if name == "a.zip":
        unpack(zipped(tmp_path / name, members), tmp_path / "into")
    else:
        unpack(tarred(tmp_path / name, *members), tmp_path / "into")
    assert (tmp_path / "into/attributes.txt").read_text() == (tmp_path / "into/other/c").read_text() == "content"
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


def damaged(folder, kind):
    """An archive of ten files that does not hold what it held."""
    path = folder / f"a.{kind.split()[0]}"
    members = [f"set/{i}" for i in range(10)]
    content = bytearray((zipped(path, members) if path.suffix == ".zip" else tarred(path, *members)).read_bytes())
    if kind.endswith("cut"):
        del content[len(content) // 2 :]
    elif kind == "zip with a flipped bit":
        with zipfile.ZipFile(path) as file:
            # The first bits of the packed bytes say how they are packed; this is a way that is none.
            content[file.infolist()[3].header_offset + 30 + len("set/3")] |= 0b110
    elif kind == "zip with a password":
        with zipfile.ZipFile(path) as file:
            content[file.start_dir + 8] |= 1
    elif kind == "tar with a flipped bit":
        # A member's header is one block, its content another: this is in the name of the third.
        content[4 * tarfile.BLOCKSIZE] ^= 1
    elif kind == "tgz with a flipped bit":
        # The checksum that gzip keeps at the end.
        content[-8] ^= 1
    elif kind.endswith("nothing in it"):
        content.clear()
    elif kind.endswith("no archive"):
        content[:] = b"<html>not found</html>"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("kind", ["zip", "tgz", "tar"])
@pytest.mark.parametrize("how", ["cut", "with a flipped bit", "with nothing in it", "that is no archive"])
def test_a_damaged_archive_is_one_line(tmp_path, kind, how):
    path = damaged(tmp_path, f"{kind} {how}")
    (tmp_path / "into").mkdir()
    with pytest.raises(FewshotError, match=rf"/a\.{kind} is damaged \(.*\); delete it") as caught:
        unpack(path, tmp_path / "into")
    assert "\n" not in str(caught.value)
    assert names(tmp_path / "into") == []


def test_so_is_an_archive_with_a_password(tmp_path):
    (tmp_path / "into").mkdir()
    with pytest.raises(FewshotError, match=r"a\.zip is damaged \(.*password"):
        unpack(damaged(tmp_path, "zip with a password"), tmp_path / "into")


def test_a_tar_whose_last_file_is_a_zip_is_a_tar(tmp_path):
    (tmp_path / "into").mkdir()
    inner = zipped(tmp_path / "inner.zip", ["wrong"])
    with tarfile.open(tmp_path / "a.tar", "w") as file:
        file.add(inner, "set/inner.zip")
    unpack(tmp_path / "a.tar", tmp_path / "into")
    assert names(tmp_path / "into") == ["set"]


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tarfile.TarFile, "extractall", full)
    (tmp_path / "into").mkdir()
    with pytest.raises(FewshotError, match=r"cannot unpack .*a\.tgz into .*into: No space left on device; free disk"):
        unpack(tarred(tmp_path / "a.tgz", "set/a"), tmp_path / "into")
    assert names(tmp_path / "into") == []


def test_so_is_a_folder_that_cannot_be_written_to(tmp_path):
    # For root every folder can be written to, but a file is none.
    (tmp_path / "into").write_text("a file")
    with pytest.raises(FewshotError, match=r"cannot unpack .*a\.zip into .*into: Not a directory"):
        unpack(zipped(tmp_path / "a.zip", ["set/a"]), tmp_path / "into")
