"""The body of an answer, read within bounds, content encoding undone."""

from __future__ import annotations

import asyncio
import zlib

import aiohttp

from coyo_tools.words.failures import Failure

_MEMBERS = 4096  # of a gzip; one that has more is made to keep a reader busy
_PIECE = 1 << 16  # of a compressed body that is looked at at once
_GZIP = b"\x1f\x8b"


async def read_body(
    answer: aiohttp.ClientResponse, max_bytes: int, *, cut: bool = False
) -> bytes | Failure:
    """The body, or why there is none. cut: of a longer one, its first max_bytes."""
    too_large = Failure("too_large", f"more than {max_bytes:,} bytes")
    if not cut and (answer.content_length or 0) > max_bytes:
        return too_large
    chunks, size = [], 0
    try:
        while chunk := await answer.content.readany():
            size += len(chunk)
            chunks.append(chunk)
            if size > max_bytes:
                break
    except (ConnectionResetError, aiohttp.ClientConnectionError):
        return Failure("truncated", "fewer bytes than promised")
    if size > max_bytes and not cut:
        return too_large
    data = b"".join(chunks)[:max_bytes]
    encoding = answer.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        is_whole = size <= max_bytes
        return await asyncio.to_thread(_decoded, data, encoding, max_bytes, cut, is_whole)
    return data or Failure("empty")


def _decoded(
    data: bytes, encoding: str, max_bytes: int, cut: bool, is_whole: bool
) -> bytes | Failure:
    """Undo a content encoding that was not asked for, up to max_bytes."""
    if encoding not in ("gzip", "x-gzip", "deflate"):
        return Failure("protocol", f"content encoding {encoding[:20]!r} was not asked for")
    plain, ended = _inflated(data, encoding == "deflate", max_bytes + 1)
    if len(plain) > max_bytes:
        too_large = Failure("too_large", f"more than {max_bytes:,} bytes, decompressed")
        return plain[:max_bytes] if cut else too_large
    if not ended and is_whole:
        return Failure("truncated", "compressed body ends early")
    return plain or Failure("empty")


def _inflated(data: bytes, is_deflate: bool, most: int) -> tuple[bytes, bool]:
    """At most so many bytes of what was compressed, and whether its end was there.

    A gzip may have several members, one after another (RFC 1952, 2.2). Raises zlib.error.
    """
    bits = -zlib.MAX_WBITS if is_deflate and data[:1] != b"\x78" else zlib.MAX_WBITS | 32
    plain, at, members = bytearray(), 0, 1
    engine = zlib.decompressobj(bits)
    while at < len(data) and len(plain) < most:
        piece = data[at : at + _PIECE]
        plain += engine.decompress(piece, most - len(plain))
        at += len(piece) - len(engine.unused_data)
        if engine.eof:
            if is_deflate or not data.startswith(_GZIP, at):
                break  # what follows is no part of it
            members += 1
            if members > _MEMBERS:
                raise zlib.error("a gzip of too many members")
            engine = zlib.decompressobj(bits)
    return bytes(plain), engine.eof
