"""Decoding: a picture or the class of failure, never an exception."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from coyo_tools.pieces import decoding
from coyo_tools.pieces.decoding import (
    decode,
    open_grey,
    open_picture,
    quiet,
    without_palette_alpha,
)
from coyo_tools.words.failures import FAILURES, Failure
from tests.pngs import of_all_kinds, repaired
from tests.tars import photographs, picture


def small_jpeg(sampling: int, progressive: bool) -> bytes:
    buffer = io.BytesIO()
    image = Image.open(io.BytesIO(photographs(1)[0])).convert("RGB").resize((150, 101))
    image.save(buffer, "JPEG", quality=70, subsampling=sampling, progressive=progressive)
    return buffer.getvalue()


def webps() -> list[bytes]:
    """Lossy ones, of even and odd sides, with what may stand beside the picture, transparent, still
    in a film's container, and one without loss."""
    image = Image.open(io.BytesIO(photographs(1)[0])).convert("RGB")
    turned, clear = Image.Exif(), image.resize((64, 48)).convert("RGBA")
    turned[0x0112] = 6
    clear.putalpha(image.resize((64, 48)).convert("L"))
    kinds: list[tuple[Image.Image, dict[str, Any]]] = [
        (image.resize((150, 101)), {"quality": 70}),
        (image.resize((33, 48)), {"quality": 20, "exif": turned}),
        (image.resize((1, 7)), {"quality": 100, "icc_profile": b"odd", "xmp": b"<x/>"}),
        (clear, {"quality": 50}),
        (image.resize((40, 40)), {"lossless": True}),
        (image.resize((64, 48)), {"save_all": True, "append_images": [clear]}),
    ]
    found = []
    for kind, options in kinds:
        buffer = io.BytesIO()
        kind.save(buffer, "WEBP", **options)
        found.append(buffer.getvalue())
    return found


WEBPS = webps()
PNGS = list(of_all_kinds().values())
SMALL_JPEGS = [small_jpeg(s, p) for s in (0, 1, 2) for p in (False, True)]


def error_of(data: bytes) -> str:
    found = decode(data)
    assert isinstance(found, Failure)
    return found.error


def test_photographs_decode_to_pillows_pixels() -> None:
    for data in photographs():
        found, expected = decode(data), Image.open(io.BytesIO(data))
        assert isinstance(found, Image.Image)
        assert (found.mode, found.size) == (expected.mode, expected.size)
        assert np.array_equal(np.asarray(found), np.asarray(expected))


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", "empty"),
        (b"<html>not found</html>", "not_an_image"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "not_an_image"),
        (picture(format="JPEG")[:-200], "corrupt_image"),
        (picture(format="PNG")[:-60], "corrupt_image"),
    ],
)
def test_bad_bytes_have_a_class(data: bytes, error: str) -> None:
    assert error_of(data) == error


def test_a_decompression_bomb_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert error_of(picture(size=(64, 48))) == "too_many_pixels"


def test_large_pictures_are_remarked_on_by_no_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 64 * 48 - 1)
    with quiet():
        assert isinstance(decode(picture(size=(64, 48))), Image.Image)


@given(st.integers(0, 5), st.data())
@settings(max_examples=200, deadline=None)
def test_damaged_pictures_never_raise(number: int, data: st.DataObject) -> None:
    format = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")[number]
    good = bytearray(picture(number, format))
    for at in data.draw(st.lists(st.integers(0, len(good) - 1), max_size=6)):
        good[at] = data.draw(st.integers(0, 255))
    with quiet():
        found = decode(bytes(good[: data.draw(st.integers(0, len(good)))]))
    assert isinstance(found, Image.Image) or found.error in FAILURES


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_damaged_jpegs_fare_as_with_pillow(data: st.DataObject) -> None:
    """The faster decoder gives Pillow's pixels or leaves the picture to Pillow."""
    assert_as_pillow(damaged(data, data.draw(st.sampled_from(SMALL_JPEGS))))


@pytest.mark.parametrize("data", WEBPS)
def test_webps_have_pillows_pixels(data: bytes) -> None:
    assert_as_pillow(data)


@given(st.data())
@settings(max_examples=400, deadline=None)
def test_damaged_webps_fare_as_with_pillow(data: st.DataObject) -> None:
    assert_as_pillow(damaged(data, data.draw(st.sampled_from(WEBPS))))


@given(st.data(), st.booleans())
@settings(max_examples=400, deadline=None)
def test_damaged_pngs_fare_as_with_pillow(data: st.DataObject, sums: bool) -> None:
    """sums: whether the damage is hidden from those who look at checksums."""
    spoiled = damaged(data, data.draw(st.sampled_from(PNGS)))
    assert_as_pillow(repaired(spoiled) if sums else spoiled)


@pytest.mark.parametrize("at", [18, 19, 22, 23, *range(24, 29)])  # of IHDR
def test_pngs_whose_headers_lie_fare_as_with_pillow(at: int) -> None:
    """Of any kind; the header's own checksum is right."""
    for value in (0, 1, 2, 3, 39, 255):
        for good in PNGS:
            assert_as_pillow(repaired(good[:at] + bytes([value]) + good[at + 1 :]))


def damaged(data: st.DataObject, good: bytes) -> bytes:
    whole = bytearray(good)
    for at in data.draw(st.lists(st.integers(2, len(whole) - 1), max_size=3)):
        whole[at] = data.draw(st.integers(0, 255))
    return bytes(whole[: data.draw(st.integers(len(whole) // 2, len(whole)))])


def assert_as_pillow(data: bytes) -> None:
    with quiet():
        try:
            expected = Image.open(io.BytesIO(data))
            expected.load()
        except Exception as error:  # noqa: BLE001  whatever Pillow raises, we have to raise
            with pytest.raises(type(error)):
                open_grey(data)
            return
        found = open_picture(data)
        assert (found.mode, found.size) == (expected.mode, expected.size)
        assert np.array_equal(np.asarray(found), np.asarray(expected))
        grey = np.asarray(without_palette_alpha(expected).convert("L"))
        assert np.array_equal(np.asarray(open_grey(data)), grey)


def test_pictures_decoded_in_one_thread_do_not_share_their_pixels() -> None:
    first, second = photographs(2)
    one = open_picture(first)
    before = np.asarray(one).copy()
    open_picture(second)
    open_grey(second)
    assert np.array_equal(np.asarray(one), before)


def test_another_libjpeg_leaves_all_to_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "_jpeg_agrees", lambda: False)
    monkeypatch.setattr(decoding, "_simplejpeg", lambda *_: pytest.fail("not with this Pillow"))
    assert isinstance(decode(SMALL_JPEGS[0]), Image.Image)


def test_the_installed_decoders_agree() -> None:
    assert decoding._jpeg_agrees()


def test_what_pillow_logs_of_odd_tags_is_not_printed() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "TIFF", tiffinfo={277: 3})
    odd = buffer.getvalue().replace(
        struct.pack("<HHIHH", 277, 3, 1, 3, 0), struct.pack("<HHIHH", 277, 3, 1, 2048, 0)
    )
    code = (
        "import sys; from coyo_tools.pieces.decoding import decode, quiet\n"
        "with quiet(): print(decode(sys.stdin.buffer.read()).error)"
    )
    done = subprocess.run([sys.executable, "-c", code], input=odd, capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"not_an_image\n", b"")
