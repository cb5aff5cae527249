"""Pictures for the page: spread evenly over the shards, cut to thumbnails, with what is known.

Only headers and the wanted members of a tar are read. A picture that does not decode is left
out and counted; nothing in a shard can stop the report.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any
from urllib.parse import urlsplit

from coyo_tools.pieces.images import Picture as StoredPicture
from coyo_tools.pieces.images import process
from coyo_tools.words.config import DownloadSettings

THUMBNAIL_PX = 160
_QUALITY = 74
_BLOCK = 512
_FILE = (b"0", b"\0")
_PICTURES = frozenset(("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff"))
_MAX_STORED_BYTES = 64_000_000  # a stored picture is far smaller; a damaged header may claim more


@dataclass(frozen=True)
class Picture:
    """One thumbnail. jpeg: at most THUMBNAIL_PX wide and high. row: the shard parquet's row.

    scores: the recomputed columns, empty where there are none.
    """

    key: str
    shard: str
    jpeg: bytes
    width: int
    height: int
    row: Mapping[str, Any]
    scores: Mapping[str, Any]


def spread(items: Sequence[Any], wanted: int) -> list[Any]:
    """`wanted` of the items (all where they are fewer), at even distances."""
    if wanted >= len(items):
        return list(items)
    return [items[(2 * i + 1) * len(items) // (2 * wanted)] for i in range(wanted)]


def quotas(wanted: int, available: Sequence[int]) -> list[int]:
    """How many pictures to take of each shard: as even as what they have allows.

    available: pictures in each. Together the quotas are `wanted`, or all there are.
    """
    taken = [0] * len(available)
    left = min(wanted, sum(available))
    while left:
        open_ = [i for i, most in enumerate(available) if taken[i] < most]
        each = max(1, left // len(open_))
        for i in spread(open_, left):
            more = min(each, available[i] - taken[i])
            taken[i] += more
            left -= more
    return taken


def members(handle: IO[bytes]) -> Iterator[tuple[str, int]]:
    """(name, bytes) of each file of a tar; the handle stands at its first byte. Ends where it ends.

    Long names of pax and GNU headers are not put together: keys are short.
    """
    at = 0
    while True:
        handle.seek(at)
        head = handle.read(_BLOCK)
        if len(head) < _BLOCK or not head[0]:
            return
        size = _octal(head[124:136])
        if size is None:
            return
        if head[156:157] in _FILE:
            handle.seek(at + _BLOCK)
            yield _name(head), size
        at += _BLOCK + (size + _BLOCK - 1) // _BLOCK * _BLOCK


def _name(head: bytes) -> str:
    name = head[:100].split(b"\0", 1)[0]
    prefix = head[345:500].split(b"\0", 1)[0] if head[257:262] == b"ustar" else b""
    return (prefix + b"/" + name if prefix else name).decode("utf-8", "replace")


def _octal(digits: bytes) -> int | None:
    try:
        return int(digits.strip(b"\0 ") or b"0", 8)
    except ValueError:
        return None


def read_pictures(handle: IO[bytes], keys: Collection[str]) -> dict[str, bytes]:
    """The encoded pictures of these keys; stops at the last one. Missing keys are left out."""
    found: dict[str, bytes] = {}
    for name, size in members(handle):
        key, _, extension = name.partition(".")
        if key in keys and extension.lower() in _PICTURES and size <= _MAX_STORED_BYTES:
            found[key] = handle.read(size)
            if len(found) == len(keys):
                break
    return found


_THUMBNAIL = DownloadSettings(
    image_size=THUMBNAIL_PX, resize="keep_ratio_largest", quality=_QUALITY, max_pixels=50_000_000
)


def thumbnail(data: bytes) -> tuple[bytes, int, int] | None:
    """A small JPEG and its width and height, px; None where the bytes do not decode."""
    made = process(data, _THUMBNAIL)
    return (made.data, made.width, made.height) if isinstance(made, StoredPicture) else None


def host(url: object) -> str:
    """The host a url names, port included and credentials left out; "" where it names none."""
    if not isinstance(url, str):
        return ""
    try:
        place = urlsplit(url).netloc
    except ValueError:
        return ""
    return re.sub(r"^.*@", "", place).lower()
