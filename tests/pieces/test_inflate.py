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
from tests.pngs import chunk, of_all_kinds, png
from tests.tars import photographs


def built(rows: bytes, size: tuple[int, int], pieces: int = 1, *, interlaced: int = 0) -> bytes:
    """A PNG of these filtered rows, in as many chunks."""
    packed = zlib.compress(rows)
    step = -(-len(packed) // pieces)
    header = struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, interlaced)
    chunks = [chunk(b"IDAT", packed[at : at + step]) for at in range(0, len(packed), step)]
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    return start + chunk(b"tEXt", b"said\0between") + b"".join(chunks) + END


def pixels(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data)) as image:
        return image.tobytes()


END = chunk(b"IEND", b"")
ROWS = b"".join(b"\0" + bytes(range(i, i + 30)) for i in range(7))  # 10 x 7 px


@pytest.mark.parametrize("level", [0, 1, 9])
def test_photographs_keep_their_pixels(level):
    for photograph in photographs()[:3]:
        image = Image.open(io.BytesIO(photograph)).convert("RGB")
        data = png(image, compress_level=level)
        assert pixels(inflate.stored(data)) == image.tobytes()


@pytest.mark.parametrize("pieces", [1, 2, 40])
def test_pixels_in_many_chunks_are_joined(pieces):
    data = built(ROWS, (10, 7), pieces)
    assert pixels(inflate.stored(data)) == pixels(data)


def test_more_pixels_than_a_block_holds():
    rows = np.random.default_rng(3).integers(0, 256, (300, 1 + 3 * 301), np.uint8)
    rows[:, 0] %= 5
    data = built(rows.tobytes(), (301, 300))
    assert pixels(inflate.stored(data)) == pixels(data)


@pytest.mark.parametrize(
    "data",
    {
        "interlaced": built(ROWS, (10, 7), interlaced=1),
        "a row too few": built(ROWS[:-31], (10, 7)),
        "a byte too many": built(ROWS + b"\0", (10, 7)),
        "no pixels": built(b"", (10, 7)),
        "cut": built(ROWS, (10, 7))[:-20],
        "no zlib stream": built(ROWS, (10, 7)).replace(b"IDAT\x78", b"IDAT\x00"),
        "pixels in two places": built(ROWS, (10, 7)).replace(
            END, chunk(b"tEXt", b"a\0b") + chunk(b"IDAT", b"") + END
        ),
        "animated": built(ROWS, (10, 7)).replace(END, chunk(b"acTL", bytes(8)) + END),
        "without an end": built(ROWS, (10, 7)).removesuffix(END),
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


def test_large_pictures_are_left_to_the_decoder(monkeypatch):
    monkeypatch.setattr(inflate, "_MOST_BYTES", len(ROWS))
    assert inflate.stored(built(ROWS, (10, 7))) is not None
    monkeypatch.setattr(inflate, "_MOST_BYTES", len(ROWS) - 1)
    assert inflate.stored(built(ROWS, (10, 7))) is None


@pytest.mark.parametrize(("kind", "data"), of_all_kinds().items(), ids=of_all_kinds())
def test_every_kind_keeps_pixels_and_all_else(kind, data):
    stored = inflate.stored(data)
    with Image.open(io.BytesIO(data)) as expected, Image.open(io.BytesIO(stored)) as found:
        assert found.tobytes() == expected.tobytes()
        assert (found.mode, found.info) == (expected.mode, expected.info)
        assert found.getpalette() == expected.getpalette()
