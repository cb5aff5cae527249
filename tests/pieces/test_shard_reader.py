"""Tar shards: samples grouped, ids and captions found, damage named."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coyo_tools.machinery.manifest import begin
from coyo_tools.machinery.storage import folder_at
from coyo_tools.pieces import shard_reader
from coyo_tools.pieces.shard_reader import Entry, find_shards, open_shard, read_shard, split_name
from coyo_tools.words.errors import CorruptFile, SourceError, SourceNotFound
from tests.servers.files import FileServer, breaks, refuses
from tests.tars import FIRST_ID, picture, sample, write_shards, write_tar


def entries(path: Path) -> list[Entry]:
    found = find_shards(path)
    assert found is not None
    return list(read_shard(found.shards[0]))


def test_samples_come_in_the_tars_order(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "0.tar", [sample(n, caption=f"caption {n}") for n in (3, 1, 2)])
    found = entries(path)
    assert [e.id for e in found] == [FIRST_ID + n for n in (3, 1, 2)]
    assert [e.caption for e in found] == ["caption 3", "caption 1", "caption 2"]
    assert [e.picture for e in found] == [picture(n) for n in (3, 1, 2)]


def test_no_name_is_not_the_root_of_this_machine() -> None:
    with pytest.raises(SourceNotFound, match="'': names no source; name a folder"):
        find_shards("")


def test_members_without_a_picture_are_no_row(tmp_path: Path) -> None:
    samples = [sample(1), sample(2)[1:], sample(3)]
    assert len(entries(write_tar(tmp_path / "0.tar", samples))) == 2


def test_an_empty_tar_has_no_rows(tmp_path: Path) -> None:
    assert entries(write_tar(tmp_path / "0.tar", [])) == []


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("a.jpg", ("a", "jpg")),
        ("a.seg.png", ("a", "seg.png")),
        ("dir.one/a.JPG", ("dir.one/a", "jpg")),
        ("./x/a.txt", ("x/a", "txt")),
        ("noextension", ("noextension", "")),
    ],
)
def test_a_key_ends_at_the_first_dot_of_the_name(name: str, split: tuple[str, str]) -> None:
    assert split_name(name) == split


@pytest.mark.parametrize(
    ("key", "row", "expected"),
    [
        ("x", {"id": 5}, 5),
        ("0000000000000007", None, 7),
        ("0000000000000007", {"url": "u"}, None),  # img2dataset: the key only numbers the row
        ("0000000000000007", {"id": None}, None),
        ("x", {"id": True}, None),
        ("x", {"id": "5"}, None),
        ("x", {"id": 2**63}, None),
        ("x", {"id": -4}, -4),
        ("name", None, None),
        ("9" * 30, None, None),
        ("9" * 5000, None, None),
        ("0" * 5000 + "7", None, 7),
        ("٣", None, None),  # a digit, but no ASCII one
    ],
)
def test_ids(key: str, row: dict[str, Any] | None, expected: int | None) -> None:
    assert Entry(key, row=None if row is None else json.dumps(row).encode()).id == expected


@pytest.mark.parametrize("row", [b"", b"{", b"[1]", b"\xff", b"null", b"[" * 100_000])
def test_a_broken_row_has_no_id_and_no_caption(row: bytes) -> None:
    entry = Entry("12", row=row)
    assert (entry.id, entry.caption) == (None, None)


def test_captions() -> None:
    assert Entry("k", text="naïve\n".encode(), row=b'{"caption": "other"}').caption == "naïve\n"
    assert Entry("k", row=b'{"caption": "from the row"}').caption == "from the row"
    assert Entry("k", row=b'{"caption": null}').caption is None
    assert Entry("k", text=b"a\xffb").caption == "a\ufffdb"
    assert Entry("k", row=rb'{"caption": "a\ud800b \ud83d\ude42"}').caption == "a\ufffdb 🙂"


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_that_are_no_utf_8_are_told_apart(tmp_path: Path, format: int) -> None:
    with tarfile.open(tmp_path / "0.tar", "w", format=format) as tar:
        for name in ("b\udcfc.jpg", "b\udcfd.jpg"):
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    assert [entry.key for entry in entries(tmp_path / "0.tar")] == [r"b\xfc", r"b\xfd"]


@given(st.text())
def test_any_caption_survives_the_tar(text: str) -> None:
    try:
        data = text.encode()
    except UnicodeEncodeError:
        return
    assert Entry("k", text=data).caption == text


def test_shards_are_found_in_name_order_at_any_depth(tmp_path: Path) -> None:
    for name in ("b/1.tar", "a.tar", "_hidden/2.tar", ".x.tar"):
        write_tar(tmp_path / name, [sample(1)])
    found = find_shards(tmp_path)
    assert found is not None
    assert [shard.name for shard in found.shards] == ["a.tar", "b__1.tar"]
    assert [shard.stem for shard in found.shards] == ["a", "b__1"]


def test_a_folder_without_tars_is_no_shard_folder(tmp_path: Path) -> None:
    assert find_shards(tmp_path) is None
    with pytest.raises(SourceNotFound):
        find_shards(tmp_path / "absent")


def test_an_unfinished_download_is_refused(tmp_path: Path) -> None:
    write_shards(tmp_path / "data", 1, 1)
    folder = folder_at(str(tmp_path / "shards"))
    with begin(folder, "download", {}, []):
        pass
    write_tar(tmp_path / "shards" / "00000.tar", [sample(1)])
    with pytest.raises(SourceError, match="has not finished"):
        find_shards(tmp_path / "shards")


@pytest.mark.parametrize("keep", [0, 100, 700, 2_000])
def test_a_truncated_tar_is_named(tmp_path: Path, keep: int) -> None:
    path = write_tar(tmp_path / "0.tar", [sample(n) for n in range(3)])
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CorruptFile, match=r"0\.tar: is truncated or no tar file"):
        entries(path)


def test_a_hole_in_the_middle_is_named(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "0.tar", [sample(n) for n in range(3)])
    data = bytearray(path.read_bytes())
    data[1536:4096] = bytes(2560)
    path.write_bytes(data)
    with pytest.raises(CorruptFile, match=r"data follows|truncated"):
        entries(path)


def test_what_is_no_tar_is_named(tmp_path: Path) -> None:
    path = tmp_path / "0.tar"
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n" * 30)
    with pytest.raises(CorruptFile):
        entries(path)


def test_a_shard_is_opened_once_and_read_forwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_tar(tmp_path / "0.tar", [sample(n) for n in range(5)])
    opened: list[Any] = []

    class Forwards:
        """A file that can be read and closed, and nothing else."""

        def __init__(self, shard: Any) -> None:
            opened.append(shard.url)
            self.file = open_shard(shard)
            self.read = self.file.read

        def __enter__(self) -> Forwards:
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

    monkeypatch.setattr(shard_reader, "open_shard", Forwards)
    assert len(entries(path)) == 5
    assert opened == [str(path)]


def test_identity_tells_shards_of_one_size_apart(tmp_path: Path) -> None:
    first = write_tar(tmp_path / "a" / "0.tar", [sample(1, caption="one")])
    second = write_tar(tmp_path / "b" / "0.tar", [sample(1, caption="two")])
    a, b = (find_shards(path) for path in (first, second))
    assert a is not None
    assert b is not None
    assert a.shards[0].bytes == b.shards[0].bytes
    assert a.shards[0].identity() != b.shards[0].identity()
    assert a.shards[0].identity() == a.shards[0].identity()


def test_a_shard_that_has_gone_is_named(tmp_path: Path) -> None:
    found = find_shards(write_tar(tmp_path / "0.tar", []))
    assert found is not None
    (tmp_path / "0.tar").unlink()
    with pytest.raises(SourceNotFound):
        open_shard(found.shards[0])


def test_shards_of_a_web_server_are_those_of_the_folder(tmp_path: Path) -> None:
    write_shards(tmp_path / "a b", 2, 3)
    (tmp_path / "a b" / "00001.tar").rename(tmp_path / "a b" / "é#1.tar")
    here = find_shards(tmp_path / "a b")
    assert here is not None
    with FileServer(tmp_path) as server:
        at = f"{server.base_url}/files/a%20b"
        server.faults["listing"] = [refuses(503)]
        there = find_shards(at)
        assert there is not None
        assert [s.identity() for s in there.shards] == [s.identity() for s in here.shards]
        server.faults["file"] = [refuses(503), breaks(900)]
        for ours, theirs in zip(here.shards, there.shards, strict=True):
            assert list(read_shard(theirs)) == list(read_shard(ours))
        one = find_shards(f"{at}/00000.tar")
        assert one is not None
        assert one.shards == there.shards[:1]
        with pytest.raises(SourceNotFound, match="no such file"):
            find_shards(f"{at}/9.tar")
        assert find_shards(f"{at}/x.parquet") is None


def test_a_glob_of_tars(tmp_path: Path) -> None:
    for name in ("a/0.tar", "b/0.tar", "b/1.tar"):
        write_tar(tmp_path / name, [sample(1)])
    (tmp_path / "b" / "0.parquet").touch()
    found = find_shards(tmp_path / "*" / "0.*")
    assert found is not None
    assert [shard.name for shard in found.shards] == ["a__0.tar", "b__0.tar"]
    assert len(list(read_shard(found.shards[1]))) == 1
    assert find_shards(tmp_path / "*.parquet") is None


@pytest.mark.parametrize("place", ["", "0.tar.gz", "*.tar*"])
def test_compressed_tars_are_named(tmp_path: Path, place: str) -> None:
    (tmp_path / "0.tar.gz").write_bytes(gzip.compress(b"a tar"))
    with pytest.raises(SourceError, match=r"0\.tar\.gz: is a compressed tar, and .*; decompress"):
        find_shards(tmp_path / place)
