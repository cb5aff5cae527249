"""Planes of lossy WebP by libwebp itself; that they are area averages, and that broken files are
judged as Pillow does, is in test_planes.py."""

from __future__ import annotations

import io
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from coyo_tools.pieces import webp_planes
from coyo_tools.pieces.images import Picture, process
from coyo_tools.words.config import DownloadSettings

SMALL = DownloadSettings(image_size=24)


def webp(mode: str = "RGB", size: tuple[int, int] = (60, 47), **options) -> bytes:
    width, height = size
    slope = np.linspace(0, 255, width * height).reshape(height, width).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(slope).convert(mode).save(buffer, "WEBP", **options)
    return buffer.getvalue()


def turned(turn: int) -> Image.Exif:
    made = Image.Exif()
    made[0x0112] = turn
    return made


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (webp(), (60, 47)),
        (webp(size=(1, 3)), (1, 3)),
        (webp(icc_profile=b"odd"), (60, 47)),
        (webp(exif=turned(6)), (60, 47)),
        (webp(lossless=True), None),
        (webp(lossless=True, icc_profile=b"odd"), None),
        (webp("RGBA"), (60, 47)),  # of which libwebp stores no alpha: all of it is opaque
        (webp().replace(b"\x9d\x01\x2a", b"\x9d\x01\x2b"), None),
        (b"RIFF\x04\0\0\0WEBP", None),
        (b"RIFF\x0c\0\0\0WEBPVP8X\0\0\0\0", None),
        (b"RIFF\x0c\0\0\0WEBPVP8X", None),
        (b"RIFF\x0c\0\0\0WEBP" + b"ICCP\0\0\0\0" * 4000 + webp()[12:], None),
    ],
)
def test_the_size_of_a_lossy_picture(data, size):
    assert webp_planes.lossy_size(data) == size


@given(st.integers(0, 200), st.integers(0, 200), st.binary(max_size=4))
def test_no_bytes_make_it_raise(begin, end, between):
    data = webp(exif=turned(1), icc_profile=b"odd")
    webp_planes.lossy_size(data[:begin] + between + data[end:])


def test_planes_are_the_pictures():
    data = webp()
    frame = webp_planes.decoded(data, (60, 47))
    assert frame is not None
    luma, blue, red = (
        np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]
        for plane in frame.planes
    )
    grey = np.asarray(Image.open(io.BytesIO(data)).convert("L"), float)
    assert np.abs(luma - (16 + grey * 219 / 255)).max() <= 2  # ITU-R BT.601, 8 bits
    assert blue.shape == red.shape == (24, 30)
    assert max(np.abs(plane.astype(int) - 128).max() for plane in (blue, red)) <= 2


def test_colours_are_pillows():
    for size in ((60, 47), (1, 3), (33, 16)):
        data, into = webp(size=size), np.zeros((*size[::-1], 4), np.uint8)
        assert webp_planes.decode_colours(data, into)
        assert np.array_equal(into[:, :, :3], np.asarray(Image.open(io.BytesIO(data))))
        assert (into[:, :, 3] == 255).all()


def test_only_the_size_that_was_checked_is_decoded():
    assert webp_planes.decoded(webp(), (60, 46)) is None
    assert webp_planes.decoded(webp()[:-200], (60, 47)) is None
    for data, height in ((webp(), 46), (webp()[:-200], 47)):
        assert not webp_planes.decode_colours(data, np.zeros((height, 60, 4), np.uint8))


def test_nothing_behind_the_picture_is_read_as_part_of_it():
    """libwebp takes the next chunks' bytes for pixels where the picture's own are too few."""
    data = webp(exif=turned(1))
    at = data.index(b"VP8 ") + 4
    length = int.from_bytes(data[at : at + 4], "little")
    less = length - 40
    cut = data[:at] + less.to_bytes(4, "little") + data[at + 4 : at + 4 + less]
    cut += b"JUNK" + (32).to_bytes(4, "little") + bytes(32) + data[at + 4 + length + length % 2 :]
    assert len(cut) == len(data)
    assert webp_planes.decoded(data, (60, 47)) is not None
    assert webp_planes.decoded(cut, (60, 47)) is None


def test_a_picture_to_be_turned_is():
    made = process(webp(exif=turned(6)), SMALL)
    assert isinstance(made, Picture)
    assert (made.width, made.height) == (24, 31)


@pytest.mark.parametrize("trouble", [OSError, AttributeError])
def test_where_libwebp_cannot_be_reached_pillow_decodes(trouble):
    webp_planes._decode_into.cache_clear()
    try:
        with mock.patch("ctypes.CDLL", side_effect=trouble):
            made = process(webp(), SMALL)
    finally:
        webp_planes._decode_into.cache_clear()
    assert isinstance(made, Picture)
    by_planes = process(webp(), SMALL)
    assert isinstance(by_planes, Picture)
    ours, pillows = (np.asarray(Image.open(io.BytesIO(d.data)), float) for d in (by_planes, made))
    assert np.abs(ours - pillows).mean() < 1.5


@pytest.mark.parametrize(("name", "planes"), [("WebPDecodeYUVInto", 3), ("WebPDecodeRGBAInto", 1)])
def test_it_is_reached_here(name, planes):
    assert webp_planes._decode_into(name, planes=planes) is not None
