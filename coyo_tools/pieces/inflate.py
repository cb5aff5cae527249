"""PNG pixels inflated by ISA-L before FFmpeg or Pillow sees them.

Most of what a PNG costs is zlib's inflating. ISA-L inflates in half of the time, and what it gives
is handed on as a PNG of the same pixels in stored blocks, which cost a decoder a copy.
"""

from __future__ import annotations

from collections.abc import Iterator

_SIGNATURE = 8  # bytes
_HEADER = slice(_SIGNATURE + 8, _SIGNATURE + 8 + 13)  # IHDR: sizes, depth, colours, three methods
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by IHDR's colour type (PNG, table 11.1)
_MOST_BYTES = 1 << 27  # of pixels; larger pictures are left to the decoder, which needs no copy
_MOST_CHUNKS = 20_000  # some encoders write pixels in pieces of 8 kB
_STORED_BYTES = 0xFFFF  # a block's most
_ZLIB_HEADER = b"\x78\x01"
_NO_SUM = bytes(4)  # neither FFmpeg, as it is called here, nor Pillow looks at the pixels' own sum
_ADLER_BYTES = 4
_PIXELS, _ANIMATED = b"IDAT", b"acTL"


def stored(data: bytes) -> bytes | None:
    """The same picture, its pixels in stored blocks and all else as it is; None where it is
    interlaced, animated or large, or its pixels are not as many as its header says, cut or damaged.

    data: a PNG that Pillow opens. Takes as much memory as the header says and no more.
    """
    from isal import isal_zlib

    length = _length(data[_HEADER])
    parts = _around_pixels(data)
    if parts is None or length is None or length > _MOST_BYTES:
        return None
    before, packed, behind = parts
    stream = isal_zlib.decompressobj()
    try:
        rows = stream.decompress(packed, length)
        rest = b"" if stream.eof else stream.decompress(stream.unconsumed_tail, 1)
    except isal_zlib.error:  # type: ignore[misc]  # isal's stub calls the class an instance
        return None
    if len(rows) != length or rest or not stream.eof or stream.unused_data:
        return None
    blocks = list(_blocks(memoryview(rows)))
    size = len(_ZLIB_HEADER) + sum(map(len, blocks)) + _ADLER_BYTES
    start = before, size.to_bytes(4, "big"), _PIXELS, _ZLIB_HEADER
    return b"".join((*start, *blocks, packed[-_ADLER_BYTES:], _NO_SUM, behind))


def _length(header: bytes) -> int | None:
    """Bytes of all rows with their filters' numbers, of what IHDR holds."""
    width, height = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big")
    depth, colours, is_interlaced = header[8], header[9], header[12]
    if is_interlaced or colours not in _CHANNELS:
        return None
    return height * (1 + (width * depth * _CHANNELS[colours] + 7) // 8)


def _around_pixels(data: bytes) -> tuple[memoryview, bytes, memoryview] | None:
    """What is before the pixels, the pixels, joined, and what is behind them; None where chunks
    are cut short, or those of pixels do not follow one another."""
    content, pieces = memoryview(data), list[memoryview]()
    at, start, end = _SIGNATURE, 0, 0
    for _ in range(_MOST_CHUNKS):
        name, after = data[at + 4 : at + 8], at + 12 + int.from_bytes(data[at : at + 4], "big")
        if len(name) < len(_PIXELS) or after > len(data) or name == _ANIMATED:
            return None
        if name == _PIXELS:
            if pieces and at != end:
                return None
            start, end = start or at, after
            pieces.append(content[at + 8 : after - 4])
        if name == b"IEND":
            return content[:start], b"".join(pieces), content[end:]
        at = after
    return None


def _blocks(rows: memoryview) -> Iterator[bytes | memoryview]:
    """Deflate's blocks of kind 0 (RFC 1951, 3.2.4)."""
    for at in range(0, len(rows), _STORED_BYTES):
        piece = rows[at : at + _STORED_BYTES]
        size = len(piece)
        last = at + size == len(rows)
        yield bytes((last,)) + size.to_bytes(2, "little") + (size ^ 0xFFFF).to_bytes(2, "little")
        yield piece
