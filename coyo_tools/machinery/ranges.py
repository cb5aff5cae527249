"""Byte ranges of remote files: those that are asked for and no byte beside them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from coyo_tools.machinery.storage import filesystem
from coyo_tools.words.errors import SourceError

_AT_ONCE = 4


def read_ranges(url: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
    """The bytes from start to end of each range, several fetched at a time.

    Raises FileNotFoundError where the file is gone, else SourceError with what the store's client
    says: they have errors of their own.
    """
    fs, path = filesystem(url)
    try:
        return _fetched(fs, path, ranges)
    except FileNotFoundError:
        raise
    except Exception as error:
        said = str(error).strip().split("\n", 1)[0][:200] or type(error).__name__
        raise SourceError(
            f"cannot be read: {said}",
            where=url,
            todo="run the same command again: it goes on where it stopped",
        ) from error


def _fetched(fs: Any, path: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
    if getattr(fs, "async_impl", False):  # s3, gs, https: the client itself fetches several
        starts, ends = [start for start, _ in ranges], [end for _, end in ranges]
        return list(fs.cat_ranges([path] * len(ranges), starts, ends, on_error="raise"))
    # The hub's files read 5 MB ahead unless told not to.
    exactly = {"cache_type": "none"} if "hf" in fs.protocol else {}

    def one(span: tuple[int, int]) -> bytes:
        return bytes(fs.cat_file(path, start=span[0], end=span[1], **exactly))

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(one, ranges))
