"""image_phash: bit for bit what imagehash gives on Pillow 9 to 12.1, on whatever Pillow."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import imagehash
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from coyo_tools.pieces import phash as module
from coyo_tools.pieces.phash import distance, drift, phash_hex, phash_of_bytes
from tests import hash_pictures
from tests.tars import photographs

HASHES = st.integers(0, 2**64 - 1).map(lambda n: f"{n:016x}")
OF_PILLOW_9 = Path(__file__).with_name("hashes_of_pillow_9.txt")
QUICK = 250  # pictures, which have every format


def plain(image: Image.Image) -> str:
    """imagehash's own, with the resize in two steps: rows first, as Pillow did before 12.2."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's advice on palettes with transparency
        grey = image.convert("L")
    lanczos = Image.Resampling.LANCZOS
    return str(imagehash.phash(grey.resize((32, grey.height), lanczos).resize((32, 32), lanczos)))


def reference(data: bytes) -> str:
    return plain(Image.open(io.BytesIO(data)))


def differing(numbers: range) -> list[str]:
    expected = OF_PILLOW_9.read_text().splitlines()[1:]
    assert len(expected) == hash_pictures.COUNT
    return [
        hash_pictures.name(number)
        for number in numbers
        if phash_of_bytes(hash_pictures.picture(number)) != expected[number]
    ]


def test_pictures_of_every_format_hash_as_with_pillow_9() -> None:
    assert differing(range(QUICK)) == []


@pytest.mark.slow
def test_five_thousand_pictures_hash_as_with_pillow_9() -> None:
    assert differing(range(QUICK, hash_pictures.COUNT)) == []


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
    assert phash_hex(image) == plain(image)


@given(st.sampled_from(["flat", "few", "rows", "mirrored", "noise"]), st.integers(0, 2**31))
@settings(max_examples=400, deadline=None)
def test_pictures_whose_frequencies_lie_at_the_median(kind: str, seed: int) -> None:
    """There the rounding of one DCT differs from another's, and only scipy's is imagehash's."""
    noise = np.random.default_rng(seed)
    pixels = noise.integers(0, 256, (32, 32), np.uint8)
    match kind:
        case "flat":
            pixels[:] = pixels[0, 0]
        case "few":
            pixels = (pixels > 250).astype(np.uint8) * pixels[0, 0]
        case "rows":
            pixels[:] = pixels[0]
        case "mirrored":
            pixels[:, 16:] = pixels[:, 15::-1]
    assert module._hash(pixels) == str(imagehash.phash(Image.fromarray(pixels)))


def test_scipys_dct_is_asked_only_where_it_could_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_scipys", lambda _: pytest.fail("asked"))
    noise = np.random.default_rng(0).integers(0, 256, (40, 40), np.uint8)
    assert phash_hex(Image.fromarray(noise)) == plain(Image.fromarray(noise))
    with pytest.raises(pytest.fail.Exception, match="asked"):
        phash_hex(Image.new("L", (40, 40), 7))


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
