"""image_phash: bit for bit what imagehash gives on the same Pillow."""

from __future__ import annotations

import io
import warnings

import imagehash
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from coyo_tools.pieces.phash import distance, drift, phash_hex, phash_of_bytes
from tests.tars import photographs

HASHES = st.integers(0, 2**64 - 1).map(lambda n: f"{n:016x}")


def reference(data: bytes) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's advice on palettes with transparency
        return str(imagehash.phash(Image.open(io.BytesIO(data))))


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=format, **options)
    return buffer.getvalue()


def test_photographs_hash_as_imagehash_does() -> None:
    for data in photographs():
        assert phash_of_bytes(data) == reference(data)
        assert phash_hex(Image.open(io.BytesIO(data))) == reference(data)


PIXELS = arrays.arrays(
    np.uint8,
    st.tuples(st.integers(1, 90), st.integers(1, 90), st.just(3)),
    elements=st.integers(0, 255),
    fill=st.integers(0, 255),
)


@given(
    PIXELS, st.sampled_from(["RGB", "L", "LA", "RGBA", "P", "1", "CMYK", "YCbCr", "HSV", "I", "F"])
)
@settings(max_examples=300, deadline=None)
def test_any_pixels_in_any_mode(pixels: np.ndarray, mode: str) -> None:
    image = Image.fromarray(pixels).convert(mode)
    assert phash_hex(image) == str(imagehash.phash(image))


@given(
    PIXELS,
    st.integers(1, 100),
    st.sampled_from([0, 1, 2]),
    st.booleans(),
    st.sampled_from(["RGB", "L", "CMYK"]),
)
@settings(max_examples=200, deadline=None)
def test_any_jpeg(
    pixels: np.ndarray, quality: int, subsampling: int, progressive: bool, mode: str
) -> None:
    data = encoded(
        Image.fromarray(pixels).convert(mode),
        "JPEG",
        quality=quality,
        subsampling=subsampling,
        progressive=progressive,
    )
    assert phash_of_bytes(data) == reference(data)


@pytest.mark.parametrize(
    "size", [(1, 1), (1, 900), (900, 1), (31, 33), (32, 32), (64, 64), (40, 300)]
)
@pytest.mark.parametrize("colour", [0, 255, 128])
def test_flat_pictures_and_odd_sizes(size: tuple[int, int], colour: int) -> None:
    data = encoded(Image.new("RGB", size, (colour,) * 3), "JPEG")
    assert phash_of_bytes(data) == reference(data)


def test_sixteen_bits_and_palettes_with_transparency() -> None:
    ramp = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64) * 16
    palette = Image.linear_gradient("L").convert("P")
    for data in (
        encoded(Image.fromarray(ramp), "PNG"),
        encoded(palette, "PNG", transparency=bytes(range(256))),
        encoded(palette, "GIF", transparency=3),
    ):
        assert phash_of_bytes(data) == reference(data)


def test_a_truncated_jpeg_raises_as_pillow_does() -> None:
    data = photographs(1)[0]
    with pytest.raises(OSError, match="truncated"):
        phash_of_bytes(data[: len(data) // 2])


def test_the_picture_is_left_as_it_was() -> None:
    image = Image.linear_gradient("L").convert("P")
    image.info["transparency"] = bytes(256)
    phash_hex(image)
    assert image.info["transparency"] == bytes(256)


def test_the_first_frame_and_no_exif_rotation_count() -> None:
    frames = [Image.linear_gradient("L"), Image.radial_gradient("L")]
    animated = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert phash_of_bytes(animated) == reference(encoded(frames[0], "GIF"))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encoded(frames[0], "PNG", exif=exif)
    assert phash_of_bytes(turned) == reference(encoded(frames[0], "PNG"))


@given(HASHES, HASHES)
def test_distance_counts_bits(a: str, b: str) -> None:
    assert distance(a, b) == (int(a, 16) ^ int(b, 16)).bit_count() == distance(b, a)
    assert distance(a, a) == 0


def test_distance_agrees_with_imagehash() -> None:
    first, second = (phash_of_bytes(data) for data in photographs(2))
    expected = imagehash.hex_to_hash(first) - imagehash.hex_to_hash(second)
    assert distance(first, second) == expected


@pytest.mark.parametrize("wrong", ["", "12", "9f91e133b1924e4", "9f91e133b1924e4e0", "g" * 16])
def test_what_is_no_hash_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"hash|base 16"):
        distance(wrong, "0" * 16)


@pytest.mark.parametrize(
    ("bits", "said"), [(0, "same"), (8, "same"), (9, "drifted"), (16, "drifted"), (17, "replaced")]
)
def test_drift(bits: int, said: str) -> None:
    assert drift(bits) == said
