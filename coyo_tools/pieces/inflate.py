"""PNG pixels inflated by ISA-L before FFmpeg sees them.

Most of what a PNG costs is zlib's inflating. ISA-L inflates in half of the time, and what it gives
is handed on as a PNG of the same pixels in stored blocks, which cost FFmpeg a copy.
"""

from __future__ import annotations

from collections.abc import Iterator

_HEADER = slice(8 + 8, 8 + 8 + 13)  # IHDR's content: width, height, depth, colours, three methods
_BEFORE_PIXELS = 8 + 25  # the signature and IHDR
_STORED_BYTES = 0xFFFF  # a block's most
_ZLIB_HEADER = b"\x78\x01"
_NO_SUM = bytes(4)  # FFmpeg, told only to stop at errors, does not look at a chunk's own sum
_CHANNELS = 3
_ADLER_BYTES = 4


def stored(data: bytes) -> bytes | None:
    """The same RGB picture of 8 bits, its pixels in stored blocks; None where it is interlaced, or
    its pixels are not as many as its header says, cut or damaged.

    data: as `planes.decoder_for` lets pass. Takes as much memory as the header says and no more.
    """
    from isal import isal_zlib

    header = data[_HEADER]
    width, height = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big")
    if header[-1]:
        return None
    length = height * (1 + _CHANNELS * width)  # a filter's number before each row
    packed = b"".join(_pixel_chunks(data))
    stream = isal_zlib.decompressobj()
    try:
        rows = stream.decompress(packed, length)
        rest = b"" if stream.eof else stream.decompress(stream.unconsumed_tail, 1)
    except isal_zlib.error:  # type: ignore[misc]  # isal's stub calls the class an instance
        return None
    if len(rows) != length or rest or not stream.eof or stream.unused_data:
        return None
    pixels = b"".join((_ZLIB_HEADER, *_blocks(memoryview(rows)), packed[-_ADLER_BYTES:]))
    start = data[:_BEFORE_PIXELS]
    size = len(pixels).to_bytes(4, "big")
    return b"".join((start, size, b"IDAT", pixels, _NO_SUM, bytes(4), b"IEND", _NO_SUM))


def _pixel_chunks(data: bytes) -> Iterator[memoryview]:
    content, at = memoryview(data), _BEFORE_PIXELS
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if data.startswith(b"IDAT", at + 4):
            yield content[at + 8 : at + 8 + length]
        at += 12 + length


def _blocks(rows: memoryview) -> Iterator[bytes | memoryview]:
    """Deflate's blocks of kind 0 (RFC 1951, 3.2.4)."""
    for at in range(0, len(rows), _STORED_BYTES):
        piece = rows[at : at + _STORED_BYTES]
        size = len(piece)
        last = at + size == len(rows)
        yield bytes((last,)) + size.to_bytes(2, "little") + (size ^ 0xFFFF).to_bytes(2, "little")
        yield piece
