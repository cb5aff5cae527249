"""The members of a tar one after the other, read once from its beginning to its end.

Headers of the plain kind, which is what shards are made of, are read here: a fifth of the time of
`tarfile`. From the first one of another kind on the rest of the tar is tarfile's.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from typing import IO, Any

_BLOCK = tarfile.BLOCKSIZE
_REGULAR, _FOLDER, _PAX = (b"0", b"\0"), b"5", b"x"
# What the pax header of a member may say without changing its name or its size.
_HARMLESS = {b"mtime", b"atime", b"ctime", b"uid", b"gid", b"uname", b"gname"}
_LONGEST_PAX = 1 << 16  # bytes
_AT_ONCE = 1 << 20  # bytes of what is skipped

Member = tuple[str, bytes | None]


def members(handle: IO[bytes], wanted: Callable[[str], bool]) -> Iterator[Member]:
    """Name and bytes of every file of the tar, in order; None for bytes of a name not wanted.

    A name that is no UTF-8 has its other bytes spelled out. Raises tarfile.ReadError where the tar
    is cut, damaged, or none.
    """
    offset = 0
    while True:
        block = handle.read(_BLOCK)
        if not any(block):
            _check_end(handle, block, offset)
            return
        kind, size = block[156:157], _size(block)
        rest = -size % _BLOCK if size is not None else 0
        if size is None or (kind == _PAX and size > _LONGEST_PAX):
            break
        if kind == _PAX:
            said = handle.read(size + rest)
            if not _is_harmless(said[:size]):
                block += said
                break
            offset += _BLOCK + size + rest
            continue
        name = _name(block)
        if name is None or (kind not in _REGULAR and kind != _FOLDER):
            break
        if kind == _FOLDER or name.endswith("/"):
            if kind != _FOLDER:
                break
            offset += _BLOCK
            continue
        offset += _BLOCK + size + rest
        yield name, _data(handle, size, keep=wanted(name))
        handle.read(rest)
    yield from _by_tarfile(_Again(block, handle), wanted, offset)


def _size(header: bytes) -> int | None:
    """Of the member, in bytes; None of a header that is not plain, or whose checksum is wrong."""
    if len(header) < _BLOCK or header[257:262] != b"ustar":
        return None
    try:
        checksum, size = (_octal(header[a:b]) for a, b in ((148, 156), (124, 136)))
    except ValueError:
        return None
    plain = checksum == sum(header) - sum(header[148:156]) + 8 * ord(" ")
    return size if plain and size >= 0 else None


def _octal(field: bytes) -> int:
    return int(field.partition(b"\0")[0].strip() or b"0", 8)


def _name(header: bytes) -> str | None:
    """None where another kind of tar keeps something else in the place of the name's beginning."""
    name = header[:100].partition(b"\0")[0]
    prefix = header[345:500].partition(b"\0")[0]
    if prefix:
        if header[257:263] != b"ustar\0":
            return None
        name = prefix + b"/" + name
    return name.decode("utf-8", "backslashreplace")


def _is_harmless(records: bytes) -> bool:
    """Whether all records, `LENGTH KEY=VALUE` and a line's end each, are of the harmless kind."""
    while records:
        digits, space, _ = records.partition(b" ")
        if not space or not digits.isdigit() or not len(digits) < int(digits) <= len(records):
            return False
        record, records = records[: int(digits)], records[int(digits) :]
        key, equals, _ = record[len(digits) + 1 :].partition(b"=")
        if not equals or key not in _HARMLESS or not record.endswith(b"\n"):
            return False
    return True


def _data(handle: IO[bytes], size: int, *, keep: bool) -> bytes | None:
    if keep:
        data = handle.read(size)
        if len(data) < size:
            raise tarfile.ReadError("unexpected end of data")
        return data
    while size:
        read = len(handle.read(min(size, _AT_ONCE)))
        if not read:
            raise tarfile.ReadError("unexpected end of data")
        size -= read
    return None


def _check_end(handle: IO[bytes], block: bytes, offset: int) -> None:
    """Raise ReadError unless the tar ends here: zeros, a block of them at least."""
    if len(block) < _BLOCK:
        raise tarfile.ReadError("it has no end-of-archive block")
    while rest := handle.read(_AT_ONCE):
        if any(rest):
            raise tarfile.ReadError(f"data follows the end-of-archive block at {offset:,}")


class _Again:
    """A stream of which some was read already, from its beginning."""

    def __init__(self, start: bytes, handle: IO[bytes]) -> None:
        self._start, self._handle = start, handle

    def read(self, size: int) -> bytes:
        found, self._start = self._start[:size], self._start[size:]
        return found + self._handle.read(size - len(found)) if len(found) < size else found


def _by_tarfile(stream: _Again, wanted: Callable[[str], bool], offset: int) -> Iterator[Member]:
    last = b""

    class Header(tarfile.TarInfo):
        @classmethod
        def frombuf(cls, buf: Any, encoding: Any, errors: Any) -> Any:
            nonlocal last
            last = bytes(buf)
            return super().frombuf(buf, encoding, errors)

    # A name that is no UTF-8 is spelled out, so that it is another than its neighbour's.
    how: Any = {"fileobj": stream, "mode": "r|", "encoding": "utf-8", "errors": "backslashreplace"}
    with tarfile.open(**how, tarinfo=Header) as tar:
        for member in tar:
            tar.members = []  # type: ignore[attr-defined]  # it would keep them all
            if not member.isfile():
                continue
            found = tar.extractfile(member) if wanted(member.name) else None
            data = found.read() if found is not None else None
            if data is not None and len(data) < member.size:
                raise tarfile.ReadError("unexpected end of data")
            yield member.name, data
        rest: Any = tar.fileobj
        # tarfile takes a cut, a hole and a header that it cannot read for the end.
        while more := last + rest.read(_AT_ONCE):
            if any(more):
                at = offset + tar.offset
                raise tarfile.ReadError(f"data follows the end-of-archive block at {at:,}")
            last = b""
        if rest.tell() < tar.offset + _BLOCK:
            raise tarfile.ReadError("it has no end-of-archive block")
