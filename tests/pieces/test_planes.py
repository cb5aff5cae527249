"""What FFmpeg decodes and shrinks: the pixels area averaging gives, and no picture that libjpeg or
Pillow would refuse for what is missing of it."""

from __future__ import annotations

import io
import struct
import zlib
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from coyo_tools.pieces import images, plain_jpeg, planes
from coyo_tools.pieces.images import Picture, Spoiled, process
from coyo_tools.pieces.sniffing import sniff
from coyo_tools.words.config import DownloadSettings
from tests.tars import photographs

SMALL = DownloadSettings(image_size=24)
KEEP = DownloadSettings(image_size=4000, keep_original_bytes=True)
QUALITY = 95


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def noise(size: tuple[int, int] = (96, 64), mode: str = "RGB") -> Image.Image:
    """A slope with grain, so that every part of the file matters."""
    width, height = size
    bands = len(Image.new(mode, (1, 1)).getbands())
    slope = np.linspace(0, 160, width * height * bands).reshape(height, width, bands)
    grain = np.random.default_rng(width).integers(0, 90, (height, width, bands))
    return Image.frombytes(mode, size, (slope + grain).astype(np.uint8).tobytes())


KINDS = {
    "baseline 4:2:0": ("JPEG", {"quality": 90}),
    "baseline 4:2:2": ("JPEG", {"quality": 90, "subsampling": 1}),
    "baseline 4:4:4": ("JPEG", {"quality": 90, "subsampling": 0}),
    "progressive": ("JPEG", {"quality": 90, "progressive": True}),
    "restart markers": ("JPEG", {"quality": 90, "restart_marker_blocks": 3}),
    "PNG": ("PNG", {}),
    "lossy WebP": ("WEBP", {"quality": 90}),
}


def decoder_of(data: bytes) -> str | None:
    return planes.decoder_for(data, sniff(data) or "", opened(data))


def frame_of(data: bytes):
    decoder = decoder_of(data)
    assert decoder
    frame = planes.decoded(data, decoder, opened(data).size)
    assert frame is not None
    return frame


def by_averaging(data: bytes, size: tuple[int, int]) -> list[np.ndarray]:
    """cv2's INTER_AREA of Pillow's pixels, then YCbCr (JFIF 1.02), colour averaged in fours."""
    cv2 = pytest.importorskip("cv2", reason="needs the img2dataset extra")
    whole = np.asarray(opened(data).convert("RGB"))
    shrunk = cv2.resize(whole, size, interpolation=cv2.INTER_AREA).astype(float)
    luma = shrunk @ [0.299, 0.587, 0.114]
    colours = ((shrunk[..., n] - luma) / by + 128 for n, by in ((2, 1.772), (0, 1.402)))
    return [luma, *(quartered(colour) for colour in colours)]


def some_photographs() -> list[bytes]:
    found = [data for data in photographs() if sniff(data) == "jpeg"]
    return [data for data in found if min(opened(data).size) >= 200][:5]


def quartered(plane: np.ndarray) -> np.ndarray:
    height, width = plane.shape
    even = np.pad(plane, ((0, height % 2), (0, width % 2)), "edge")
    return even.reshape(even.shape[0] // 2, 2, even.shape[1] // 2, 2).mean((1, 3))


def psnr(found, expected) -> float:
    """Peak signal to noise ratio over all samples of all planes, dB."""
    errors = np.concatenate([(a - b).ravel() for a, b in zip(found, expected, strict=True)])
    return float(10 * np.log10(255**2 / max(1e-9, np.mean(errors**2))))


@pytest.mark.parametrize("name", [*KINDS, "RGBX pixels"])
def test_shrunk_photographs_are_area_averages(name):
    kind, options = KINDS.get(name, ("PNG", {}))
    found = []
    for photograph in some_photographs():
        data = encoded(opened(photograph).convert("RGB"), kind, **options)
        width, height = opened(data).size
        for factor in (1.02, 1.4, 1.9, 2.0, 3.3, 7.1):
            size = round(width / factor), round(height / factor)
            frame = frame_of(data)
            if name == "RGBX pixels":
                padded = np.dstack([np.asarray(opened(data)), np.zeros((height, width), np.uint8)])
                frame = planes.of_pixels(padded)
            made = planes.shrunk(frame, size)
            found.append(psnr(made, by_averaging(data, size)))
    assert np.mean(found) >= 50, found
    assert min(found) >= 42, found


def test_what_is_stored_is_as_near_as_what_libjpeg_makes_of_the_averages():
    cv2 = pytest.importorskip("cv2", reason="needs the img2dataset extra")
    for photograph in some_photographs():
        made = process(photograph, DownloadSettings(image_size=160))
        whole = np.asarray(opened(photograph).convert("RGB"))
        area = cv2.resize(whole, (made.width, made.height), interpolation=cv2.INTER_AREA)
        theirs = encoded(Image.fromarray(area), "JPEG", quality=QUALITY, subsampling=2)
        ours, theirs = (
            psnr([np.asarray(opened(data), float)], [area]) for data in (made.data, theirs)
        )
        assert ours > theirs - 1.5


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(1, 70), st.integers(1, 70)),
    st.integers(1, 30),
    st.sampled_from(sorted(KINDS)),
)
def test_every_size_comes_out_as_planned_and_twice_alike(size, target, name):
    kind, options = KINDS[name]
    data = encoded(noise(size), kind, **options)
    made = process(data, DownloadSettings(image_size=target))
    assert isinstance(made, Picture)
    stored = opened(made.data)
    stored.load()
    assert stored.size == (made.width, made.height)
    assert process(data, DownloadSettings(image_size=target)) == made


def test_odd_sizes_end_in_their_own_last_row_and_column():
    """The encoder reads a row and a column more than such a picture has."""
    pixels = np.full((99, 131, 3), 60, np.uint8)
    for kind in ("PNG", "JPEG"):
        data = encoded(Image.fromarray(pixels), kind)
        made = process(data, DownloadSettings(image_size=33))
        assert made.height == 33
        found = np.asarray(opened(made.data), int)
        assert np.abs(found - 60).max() <= 1


def exif(turn: int) -> Image.Exif:
    made = Image.Exif()
    made[0x0112] = turn
    return made


def with_segment(data: bytes, marker: int, content: bytes) -> bytes:
    """A JPEG with one more segment, right after its beginning."""
    segment = bytes((0xFF, marker)) + struct.pack(">H", 2 + len(content)) + content
    return data[:2] + segment + data[2:]


def with_chunk(data: bytes, name: bytes, content: bytes) -> bytes:
    """A PNG with one more chunk, right after its header."""
    checksum = struct.pack(">I", zlib.crc32(name + content))
    return data[:33] + struct.pack(">I", len(content)) + name + content + checksum + data[33:]


JPEG = encoded(noise(), "JPEG", quality=90)
PROGRESSIVE = encoded(noise(), "JPEG", quality=90, progressive=True)
PNG = encoded(noise(), "PNG")
WEBP = encoded(noise(), "WEBP", quality=90)
ODD = {
    "grey JPEG": encoded(noise(mode="L"), "JPEG"),
    "CMYK": encoded(noise(mode="CMYK"), "JPEG"),
    "RGB in a JPEG": encoded(noise(), "JPEG", keep_rgb=True),
    "no end": JPEG[:-2],
    "two frames": with_segment(JPEG, 0xC0, b"\x08\xff\xff\xff\xff\x01\x01\x11\x00"),
    "a segment behind the first scan": JPEG[:-2] + b"\xff\xe0\x00\x04ab" + JPEG[-2:],
    "thousands of comments": JPEG[:2] + b"\xff\xfe\x00\x02" * 3000 + JPEG[2:],
    "thousands of chunks": PNG[:33] + with_chunk(PNG, b"tEXt", b"a\0b")[33:48] * 3000 + PNG[33:],
    "fields of a film": with_segment(JPEG, 0xE0, b"AVI1\x01" + b"\0" * 9),
    "upside down in films": with_segment(JPEG, 0xFE, b"Metasoft MJPEG Codec"),
    "other range in films": with_segment(JPEG, 0xFE, b"CS=ITU601"),
    "grey PNG": encoded(noise(mode="L"), "PNG"),
    "alpha": encoded(noise(mode="RGBA"), "PNG"),
    "one colour transparent": encoded(noise(), "PNG", transparency=(1, 2, 3)),
    "palette": encoded(noise().quantize(16), "PNG"),
    "PNG with EXIF": encoded(noise(), "PNG", exif=exif(6)),
    "PNG with XMP": with_chunk(PNG, b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<x/>"),
    "PNG with a profile of ImageMagick": with_chunk(PNG, b"tEXt", b"Raw profile type exif\0x"),
    "animated PNG": encoded(noise(), "PNG", save_all=True, append_images=[noise().rotate(180)]),
    "PNG without its end": PNG[:-12],
    "lossless WebP": encoded(noise(), "WEBP", lossless=True),
    "transparent WebP": encoded(noise(mode="RGBA"), "WEBP"),
    "animated WebP": encoded(noise(), "WEBP", save_all=True, append_images=[noise().rotate(180)]),
}


@pytest.mark.parametrize(
    ("data", "header"),
    [
        (JPEG, ((96, 64), False, False)),
        (PROGRESSIVE, ((96, 64), True, False)),
        (with_segment(JPEG, 0xFE, b"a comment"), ((96, 64), False, False)),
        (with_segment(JPEG, 0xE2, b"ICC_PROFILE\0\x01\x01abc"), ((96, 64), False, False)),
        (with_segment(JPEG, 0xE2, b"MPF\0II*\0"), ((96, 64), False, True)),
        (with_segment(JPEG, 0xE1, b"Exif\0\0"), ((96, 64), False, True)),
        (with_segment(JPEG, 0xED, b"Photoshop 3.0\0"), ((96, 64), False, True)),
        (JPEG[:-2], None),
        (JPEG.replace(b"\xff\xc0\x00\x11\x08", b"\xff\xc0\x00\x11\x0c"), None),
        (JPEG[:3], None),
        (b"\xff\xd8\xff\xc0", None),
        (b"\xff\xd8\xff\xc0\x00\x02", None),
        (b"", None),
    ],
)
def test_the_header_of_a_plain_jpeg(data, header):
    assert plain_jpeg.header_of(data) == header


def test_a_plain_jpeg_needs_no_look_by_pillow():
    """And with it the very same picture is made."""
    for data in (JPEG, PROGRESSIVE):
        with mock.patch.object(images, "_open", side_effect=AssertionError):
            made = process(data, SMALL)
        with mock.patch.object(images, "_shrunk_at_once", return_value=None) as asked:
            assert process(data, SMALL) == made
        assert asked.called


@pytest.mark.parametrize("turn", range(1, 9))
def test_exif_is_pillows_to_read(turn):
    made = process(encoded(noise(), "JPEG", exif=exif(turn)), SMALL)
    assert isinstance(made, Picture)
    assert (made.width > made.height) == (turn < 5)


def test_limits_hold_without_pillow():
    few = DownloadSettings(image_size=24, max_pixels=96 * 64 - 1)
    made = process(JPEG, few)
    assert isinstance(made, Spoiled)
    assert made.failure.error == "too_many_pixels"
    with mock.patch.object(images, "_most_scans", return_value=3):
        made = process(PROGRESSIVE, SMALL)
    assert isinstance(made, Spoiled)
    assert "too many scans" in made.failure.message


@pytest.mark.parametrize("name", ODD)
def test_what_is_not_plain_is_left_to_pillow(name):
    assert decoder_of(ODD[name]) is None


@pytest.mark.parametrize(
    "data",
    [
        JPEG,
        PROGRESSIVE,
        with_segment(JPEG, 0xFE, b"a comment"),
        with_segment(JPEG, 0xE1, b"Exif\0\0\xff\xd9\xff\xda"),
        JPEG + b"something behind the end",
        PNG,
        with_chunk(PNG, b"tEXt", b"Comment\0of no consequence"),
        WEBP,
        encoded(noise(), "WEBP", icc_profile=b"a profile of odd length"),
    ],
)
def test_what_is_plain_is_given_to_ffmpeg(data):
    assert decoder_of(data)
    assert frame_of(data).width == 96


def test_colour_chunks_of_a_png_change_no_pixel():
    """Pillow and cv2 ignore them, and COYO's columns were computed without."""
    plain = process(PNG, SMALL)
    for name, content in (
        (b"gAMA", struct.pack(">I", 100_000)),
        (b"sRGB", b"\0"),
        (b"cHRM", struct.pack(">8I", *range(30_000, 38_000, 1000))),
        (b"cICP", b"\x09\x10\x00\x01"),
        (b"sBIT", b"\x05\x06\x05"),
    ):
        changed = with_chunk(PNG, name, content)
        assert decoder_of(changed) == "png"
        assert process(changed, SMALL) == plain, name


@pytest.mark.parametrize(("data", "decoder"), [(JPEG, "mjpeg"), (PNG, "png"), (WEBP, "libwebp")])
def test_decoders_are_held_to_the_size_that_was_checked(data, decoder):
    assert planes.decoded(data, decoder, (96, 64)) is not None
    assert planes.decoded(data, decoder, (96, 63)) is None
    if decoder == "libwebp":
        return
    large = encoded(Image.new("RGB", (700, 500)), "JPEG" if decoder == "mjpeg" else "PNG")
    with mock.patch.object(planes, "_MARGIN", 0):
        assert planes.decoded(large, decoder, (700, 499)) is None


def test_where_ffmpeg_objects_pillow_decides():
    for data in (JPEG, PROGRESSIVE, PNG, WEBP):
        with mock.patch.object(planes, "decoded", return_value=None) as asked:
            made = process(data, SMALL)
        assert asked.called
        assert isinstance(made, Picture)
        assert (
            psnr(*([np.asarray(opened(d.data), float)] for d in (made, process(data, SMALL)))) > 35
        )


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L"])
@pytest.mark.parametrize("settings", [SMALL, KEEP])
def test_a_png_with_broken_pixels_is_corrupt(mode, settings):
    """Pillow raises once for them; asked for EXIF first, it would do so unheard."""
    image = noise().quantize(16) if mode == "P" else noise(mode=mode)
    data = bytearray(encoded(image, "PNG"))
    at = data.index(b"IDAT") + 4
    data[at + 20 : at + 60] = bytes(40)
    made = process(bytes(data), settings)
    assert isinstance(made, Spoiled)
    assert made.failure.error == "corrupt_image"


FILES = [encoded(noise((61, 47)), kind, **options) for kind, options in KINDS.values()]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(FILES), st.floats(0, 1), st.booleans(), st.sampled_from([SMALL, KEEP]))
def test_a_picture_that_ends_early_is_corrupt_to_all_or_none(data, share, closed, chosen):
    """With the end's marker put behind it, a JPEG is complete to libjpeg, which fills up grey."""
    cut = data[: int(share * len(data))] + (b"\xff\xd9" if closed else b"")
    assert error_of(process(cut, chosen)) == error_of(by_pillow_alone(cut, chosen))


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(FILES), st.floats(0.35, 0.99), st.binary(max_size=30), st.integers(0, 30),
    st.sampled_from([SMALL, KEEP]),
)  # fmt: skip
def test_a_picture_damaged_in_its_pixels_is_corrupt_to_all_or_none(
    data, share, inserted, removed, chosen
):
    at = max(int(share * len(data)), _pixels_begin(data))
    damaged = data[:at] + inserted + data[at + removed :]
    assert error_of(process(damaged, chosen)) == error_of(by_pillow_alone(damaged, chosen))


def _pixels_begin(data: bytes) -> int:
    """Where a JPEG's first scan begins: before it lie tables, with which FFmpeg is more lenient."""
    return data.rfind(b"\xff\xda") + 14 if data[:2] == b"\xff\xd8" else 0


def by_pillow_alone(data: bytes, chosen: DownloadSettings) -> Picture | Spoiled:
    with (
        mock.patch.object(planes, "decoder_for", return_value=None),
        mock.patch.object(plain_jpeg, "header_of", return_value=None),
        mock.patch.object(images, "_reads_to_its_end", return_value=False),
    ):
        return process(data, chosen)


def error_of(made: Picture | Spoiled) -> str | None:
    return made.failure.error if isinstance(made, Spoiled) else None
