"""Decoding: a picture or the class of failure, never an exception."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from coyo_tools.pieces.decoding import decode, quiet
from coyo_tools.words.failures import FAILURES, Failure
from tests.tars import photographs, picture


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
