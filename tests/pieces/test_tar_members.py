"""Members of a tar, read as `tarfile` reads them: every format, cuts, holes and damage."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coyo_tools.pieces import tar_members
from coyo_tools.pieces.tar_members import members

BLOCK = tarfile.BLOCKSIZE
Files = list[tuple[str, bytes]]


def made(files: Files, format: int = tarfile.USTAR_FORMAT, **facts: Any) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as tar:
        for name, data in files:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            for fact, value in facts.items():
                setattr(entry, fact, value)
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def found(data: bytes, wanted: Callable[[str], bool] = lambda _: True) -> Any:
    """What is read, then the word of an error, where there is one."""
    read: list[Any] = []
    try:
        for each in members(io.BytesIO(data), wanted):
            read.append(each)
    except tarfile.ReadError:
        read.append("error")
    return read


def by_tarfile(data: bytes) -> Any:
    """The same by tarfile alone, which takes a cut and a hole for the end: looked for behind it."""
    read: list[Any] = []
    how: Any = {"mode": "r|", "encoding": "utf-8", "errors": "backslashreplace"}
    try:
        with tarfile.open(fileobj=io.BytesIO(data), **how) as tar:
            for entry in tar:
                if entry.isfile():
                    content = tar.extractfile(entry).read()  # type: ignore[union-attr]
                    if len(content) < entry.size:
                        raise tarfile.ReadError
                    read.append((entry.name, content))
            end = tar.offset
        if any(data[end:]) or len(data) < end + BLOCK:
            raise tarfile.ReadError
    except tarfile.ReadError:
        read.append("error")
    return read


FILES: Files = [("a/0001.jpg", b"p" * 700), ("a/0001.txt", "ä caption".encode()), ("b.json", b"")]


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_format_of_plain_files(format: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """img2dataset's too, in which each member has its time in a pax header; without tarfile."""
    split = [("x" * 90 + "/" + "y" * 60, b"split")] if format == tarfile.USTAR_FORMAT else []
    files = [*FILES, *split]
    data = made(files, format, mtime=1700000000.25 if format == tarfile.PAX_FORMAT else 5)
    monkeypatch.setattr(tar_members, "_by_tarfile", None)
    assert found(data) == files


def test_names_that_are_not_wanted_are_passed_over() -> None:
    files = [("a.jpg", b"1"), ("big.bin", b"2" * 3_000_000), ("b.jpg", b"3")]
    read = found(made(files), lambda name: name.endswith(".jpg"))
    assert read == [("a.jpg", b"1"), ("big.bin", None), ("b.jpg", b"3")]


ODD: dict[str, Callable[[], bytes]] = {
    "long names, GNU": lambda: made([("n" * 200, b"1"), *FILES], tarfile.GNU_FORMAT),
    "long names, pax": lambda: made([*FILES, ("n" * 300, b"1")], tarfile.PAX_FORMAT),
    "names beyond ASCII": lambda: made([("ä/ö.jpg", b"1"), ("\udcff.txt", b"2")]),
    "folders": lambda: made([("d", b""), *FILES], type=tarfile.DIRTYPE),
    "links": lambda: made([("l", b"")], type=tarfile.SYMTYPE, linkname="x")[:-10240] + made(FILES),
    "old typeflag": lambda: made(FILES, type=tarfile.AREGTYPE),
    "contiguous": lambda: made(FILES, type=tarfile.CONTTYPE),
    "no files": lambda: made([]),
    "nothing": lambda: b"",
    "one block of zeros": lambda: bytes(BLOCK),
    "no tar": lambda: b"PK\3\4" + b"x" * 5000,
    "files after the end": lambda: made(FILES) + made(FILES),
    "a hole": lambda: made(FILES)[: BLOCK * 3] + bytes(BLOCK) + made(FILES)[BLOCK * 3 :],
    "a size that is no number": lambda: patched(made(FILES), 124, b"zzzzzzzzzzz\0"),
    "a size of 256 bits": lambda: patched(made(FILES), 124, b"\x80" + bytes(9) + b"\2\xbc"),
    "a lying checksum": lambda: made(FILES)[:148] + b"0000000\0" + made(FILES)[156:],
    "a pax header of a size": lambda: made(FILES, tarfile.PAX_FORMAT, pax_headers={"size": "3"}),
    "a pax header of a path": lambda: made(FILES, tarfile.PAX_FORMAT, pax_headers={"path": "q"}),
    "an unknown pax header": lambda: made(FILES, tarfile.PAX_FORMAT, pax_headers={"x.y": "\n=1"}),
}


def patched(data: bytes, at: int, field: bytes) -> bytes:
    """The first header with another field, and its checksum."""
    header = bytearray(data[:BLOCK])
    header[at : at + len(field)] = field
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + data[BLOCK:]


@pytest.mark.parametrize("name", ODD)
def test_odd_tars_are_read_as_tarfile_reads_them(name: str) -> None:
    data = ODD[name]()
    assert found(data) == by_tarfile(data)


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=120)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(NAMES, st.binary(max_size=1500)), max_size=5),
    st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    st.floats(0, 2e9),
    st.data(),
)
def test_any_tar_whole_cut_or_damaged(
    files: Files, format: int, time: float, draw: st.DataObject
) -> None:
    data = made(files, format, mtime=time)
    assert found(data) == by_tarfile(data)
    cut = data[: draw.draw(st.integers(0, len(data)))]
    assert found(cut) == by_tarfile(cut)
    at, byte = draw.draw(st.integers(0, len(data) - 1)), draw.draw(st.integers(0, 255))
    hurt = data[:at] + bytes([byte]) + data[at + 1 :]
    assert found(hurt) == by_tarfile(hurt)
