"""PNGs in stored blocks: the same pixels, or nothing where the file is not what it says."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from coyo_tools.pieces import inflate
from tests.tars import photographs


def png(image: Image.Image, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()


def chunk(name: bytes, content: bytes) -> bytes:
    ends = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + ends


def built(rows: bytes, size: tuple[int, int], pieces: int = 1, *, interlaced: int = 0) -> bytes:
    """A PNG of these filtered rows, in as many chunks."""
    packed = zlib.compress(rows)
    step = -(-len(packed) // pieces)
    header = struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, interlaced)
    chunks = [chunk(b"IDAT", packed[at : at + step]) for at in range(0, len(packed), step)]
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    return start + chunk(b"tEXt", b"said\0between") + b"".join(chunks) + chunk(b"IEND", b"")


def pixels(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data)) as image:
        return image.tobytes()


ROWS = b"".join(b"\0" + bytes(range(i, i + 30)) for i in range(7))  # 10 x 7 px


def with_sums(data: bytes) -> bytes:
    """The chunks with their checksums, which FFmpeg is not told to look at and Pillow is."""
    found, at = data[:8], 8
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        found += chunk(data[at + 4 : at + 8], data[at + 8 : at + 8 + length])
        at += 12 + length
    return found


@pytest.mark.parametrize("level", [0, 1, 9])
def test_photographs_keep_their_pixels(level):
    for photograph in photographs()[:3]:
        image = Image.open(io.BytesIO(photograph)).convert("RGB")
        data = png(image, compress_level=level)
        assert pixels(with_sums(inflate.stored(data))) == image.tobytes()


@pytest.mark.parametrize("pieces", [1, 2, 40])
def test_pixels_in_many_chunks_are_joined(pieces):
    data = built(ROWS, (10, 7), pieces)
    assert pixels(with_sums(inflate.stored(data))) == pixels(data)


def test_more_pixels_than_a_block_holds():
    rows = np.random.default_rng(3).integers(0, 256, (300, 1 + 3 * 301), np.uint8)
    rows[:, 0] %= 5
    data = built(rows.tobytes(), (301, 300))
    assert pixels(with_sums(inflate.stored(data))) == pixels(data)


@pytest.mark.parametrize(
    "data",
    {
        "interlaced": built(ROWS, (10, 7), interlaced=1),
        "a row too few": built(ROWS[:-31], (10, 7)),
        "a byte too many": built(ROWS + b"\0", (10, 7)),
        "no pixels": built(b"", (10, 7)),
        "cut": built(ROWS, (10, 7))[:-20],
        "no zlib stream": built(ROWS, (10, 7)).replace(b"IDAT\x78", b"IDAT\x00"),
        "a wrong sum": built(ROWS, (10, 7)).replace(zlib.compress(ROWS)[-4:], bytes(4)),
    }.items(),
    ids=lambda case: case[0],
)
def test_what_is_not_whole_is_left_as_it_is(data):
    assert inflate.stored(data[1]) is None


def test_a_picture_that_swells_takes_no_more_than_its_header_says():
    data = built(bytes(30_000_000), (10, 7))
    tracemalloc.start()
    try:
        assert inflate.stored(data) is None
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()
