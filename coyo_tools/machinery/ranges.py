"""Byte ranges of remote files: those that are asked for and no byte beside them, counted.

Web servers and hubs are read by `machinery.web`. Object stores (s3, gs) are read by their own
clients through fsspec, which sign requests and try again by themselves: five and six times, with
pauses; nothing here repeats what they give up, but for an answer that came short.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence
from typing import Any

from coyo_tools.machinery import web
from coyo_tools.machinery.storage import filesystem, first_line
from coyo_tools.machinery.traffic import Traffic
from coyo_tools.machinery.web import Place, Sink
from coyo_tools.words.errors import CorruptFile, SourceError

MOST = 1 << 24  # bytes of one request; longer ranges are asked for in pieces, side by side


def is_web(url: str) -> bool:
    """Whether `machinery.web` reads it."""
    return url.startswith(("http://", "https://"))


def read_ranges(
    place: Place, ranges: Sequence[tuple[int, int]], traffic: Traffic, size: int = 0
) -> list[bytes]:
    """The bytes from start to end of each range. size: of the whole file, 0 where unknown.

    Raises as `copy_ranges`.
    """
    found = [bytearray(end - start) for start, end in ranges]
    at = {start: number for number, (start, _) in enumerate(ranges)}
    starts = sorted(at)

    def sink(position: int, chunk: bytes) -> None:
        first = starts[_last_up_to(starts, position)]
        offset = position - first
        found[at[first]][offset : offset + len(chunk)] = chunk

    copy_ranges(place, ranges, traffic, sink, size)
    return [bytes(each) for each in found]


def _last_up_to(starts: Sequence[int], position: int) -> int:
    from bisect import bisect_right

    return bisect_right(starts, position) - 1


def copy_ranges(
    place: Place, ranges: Sequence[tuple[int, int]], traffic: Traffic, sink: Sink, size: int = 0
) -> None:
    """Give every byte of these ranges, which do not overlap, to `sink(position, bytes)` once.

    sink: called from one thread at a time, not the caller's; pieces come in any order.
    Raises FileNotFoundError where the file is gone, else SourceError.
    """
    pieces = [piece for start, end in ranges for piece in _pieces(start, end)]
    if is_web(place.url):
        web.fetch(place, pieces, size, traffic, sink)
        return
    try:
        _from_store(place, pieces, traffic, sink)
    except (FileNotFoundError, SourceError):
        raise
    except Exception as error:  # the clients have errors of their own
        raise SourceError(
            f"cannot be read: {first_line(error)}",
            where=place.where,
            todo="run the same command again: it goes on where it stopped",
        ) from error


def _pieces(start: int, end: int) -> Iterator[tuple[int, int]]:
    while end - start > MOST:
        yield start, start + MOST
        start += MOST
    if start < end:
        yield start, end


def _from_store(
    place: Place, ranges: Sequence[tuple[int, int]], traffic: Traffic, sink: Sink
) -> None:
    fs, path = filesystem(place.url)
    for _ in range(traffic.settings.attempts):
        traffic.count(requests=len(ranges))
        blocks = _blocks(fs, path, ranges, traffic.settings.connections)
        rest = []
        for (start, end), block in zip(ranges, blocks, strict=True):
            traffic.count(bytes=len(block))
            sink(start, block)
            if start + len(block) < end:
                rest.append((start + len(block), end))
        if not rest:
            return
        ranges = rest
        traffic.count(repeated=len(rest))
    raise CorruptFile("ends earlier than it did when it was listed", where=place.where)


def _blocks(fs: Any, path: str, ranges: Sequence[tuple[int, int]], at_once: int) -> Sequence[bytes]:
    starts, ends = [start for start, _ in ranges], [end for _, end in ranges]
    if getattr(fs, "async_impl", False):  # the client itself fetches several at once
        found = fs.cat_ranges(
            [path] * len(ranges), starts, ends, on_error="raise", batch_size=at_once
        )
        return [bytes(block) for block in found]
    return [bytes(fs.cat_file(path, start=start, end=end)) for start, end in ranges]


def size_of(place: Place, traffic: Traffic) -> int:
    """Bytes of the file. Raises FileNotFoundError, SourceError."""
    if is_web(place.url):
        return web.size_of(place, traffic)
    fs, path = filesystem(place.url)
    return int(fs.size(path))


class RangeFile(io.RawIOBase):
    """A remote file that is read where it is asked to, for pyarrow."""

    def __init__(self, place: Place, size: int, traffic: Traffic) -> None:
        super().__init__()
        self._place, self._size, self._traffic = place, size, traffic
        self._at = 0
        self._here: dict[int, bytes] = {}  # by where they begin

    @contextlib.contextmanager
    def holding(self, ranges: Sequence[tuple[int, int]]) -> Iterator[None]:
        """Fetch these ranges side by side; reads within them are answered from memory meanwhile.

        Raises as `copy_ranges`.
        """
        blocks = read_ranges(self._place, ranges, self._traffic, self._size)
        self._here = {start: block for (start, _), block in zip(ranges, blocks, strict=True)}
        try:
            yield
        finally:
            self._here = {}

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As of any file."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        """As of any file."""
        return self._at

    def readinto(self, buffer: Any) -> int:
        """As of any file. Raises as `read_ranges`."""
        end = min(self._at + len(buffer), self._size)
        if end <= self._at:
            return 0
        block = self._block(self._at, end)
        buffer[: len(block)] = block
        self._at = end
        return len(block)

    def _block(self, start: int, end: int) -> memoryview | bytes:
        for first, block in self._here.items():
            if first <= start and end <= first + len(block):
                return memoryview(block)[start - first : end - first]
        (block,) = read_ranges(self._place, [(start, end)], self._traffic, self._size)
        return block
