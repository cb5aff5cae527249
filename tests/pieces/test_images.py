"""Every kind of picture and of thing that is none, decoded for real."""

from __future__ import annotations

import io
import warnings
from dataclasses import replace

import imagehash
import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from coyo_tools.pieces.images import Picture, Spoiled, process
from coyo_tools.pieces.phash import phash_of_bytes
from coyo_tools.pieces.sniffing import sniff
from coyo_tools.words.config import DownloadSettings
from tests import hash_pictures
from tests.tars import photographs

SMALL = DownloadSettings(image_size=32)
AS_PNG = DownloadSettings(image_size=32, format="png", quality=1)
KEEP = DownloadSettings(image_size=64, keep_original_bytes=True)
RED, GREEN, BLUE, WHITE = (200, 30, 30), (30, 180, 40), (20, 40, 200), (255, 255, 255)


def quarters(size: tuple[int, int] = (96, 64)) -> Image.Image:
    """Red, green / blue, white."""
    image = Image.new("RGB", size, WHITE)
    half = size[0] // 2, size[1] // 2
    image.paste(RED, (0, 0, *half))
    image.paste(GREEN, (half[0], 0, size[0], half[1]))
    image.paste(BLUE, (0, half[1], half[0], size[1]))
    return image


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def corners(made: Picture | Spoiled) -> list[tuple[int, ...]]:
    """Colours in the middle of the four quarters, in reading order."""
    assert isinstance(made, Picture), made
    image = Image.open(io.BytesIO(made.data))
    assert image.mode == "RGB"
    assert image.size == (made.width, made.height)
    xs, ys = (image.width // 4, 3 * image.width // 4), (image.height // 4, 3 * image.height // 4)
    return [image.getpixel((x, y)) for y in ys for x in xs]


def near(found, expected, tolerance: int = 6) -> bool:
    return bool(np.abs(np.array(found, int) - np.array(expected, int)).max() <= tolerance)


FORMATS = {
    "jpeg": ("JPEG", {"quality": 95}),
    "jpeg progressive": ("JPEG", {"quality": 95, "progressive": True}),
    "jpeg 4:4:4": ("JPEG", {"quality": 95, "subsampling": 0}),
    "png": ("PNG", {}),
    "webp": ("WEBP", {"lossless": True}),
    "gif": ("GIF", {}),
    "bmp": ("BMP", {}),
    "tiff": ("TIFF", {}),
    "tiff lzw": ("TIFF", {"compression": "tiff_lzw"}),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_decoded_format_keeps_its_colours(name):
    kind, options = FORMATS[name]
    data = encoded(quarters(), kind, **options)
    assert sniff(data) == kind.lower()
    made = process(data, AS_PNG)
    assert near(corners(made), [RED, GREEN, BLUE, WHITE])
    assert (made.original_width, made.original_height) == (96, 64)
    assert (made.width, made.height) == (48, 32)


def test_modes_all_become_rgb():
    image = quarters()
    grey = image.convert("L")
    as_grey = [(v, v, v) for v in (grey.getpixel((x, y)) for y in (16, 48) for x in (24, 72))]
    colours = [RED, GREEN, BLUE, WHITE]
    sixteen = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    cases = {
        "grey jpeg": (encoded(grey, "JPEG", quality=95), as_grey),
        "grey png": (encoded(grey, "PNG"), as_grey),
        "16-bit png": (encoded(sixteen, "PNG"), as_grey),
        "16-bit tiff": (encoded(sixteen, "TIFF"), as_grey),
        "palette png": (encoded(image.quantize(16), "PNG"), colours),
        "bilevel png": (encoded(grey.convert("1", dither=0), "PNG"), None),
        "cmyk jpeg": (encoded(image.convert("CMYK"), "JPEG", quality=95), colours),
        "cmyk tiff": (encoded(image.convert("CMYK"), "TIFF"), colours),
        "ycbcr tiff": (encoded(image.convert("YCbCr"), "TIFF"), colours),
    }
    for name, (data, expected) in cases.items():
        found = corners(process(data, AS_PNG))
        assert expected is None or near(found, expected, 8), (name, found, expected)


def test_transparency_becomes_white_as_with_img2dataset():
    image = quarters().convert("RGBA")
    alpha = Image.new("L", image.size, 255)
    alpha.paste(0, (0, 0, 48, 32))
    alpha.paste(128, (48, 0, 96, 32))
    image.putalpha(alpha)
    half = tuple(round(c * 128 / 255 + 255 - 128) for c in GREEN)
    expected = [WHITE, half, BLUE, WHITE]
    for data in (encoded(image, "PNG"), encoded(image, "WEBP", lossless=True)):
        assert near(corners(process(data, AS_PNG)), expected, 2)
    grey = quarters().convert("LA")
    grey.putalpha(alpha)
    assert corners(process(encoded(grey, "PNG"), AS_PNG))[0] == WHITE
    palette = quarters().quantize(16)
    data = encoded(palette, "PNG", transparency=palette.getpixel((1, 1)))
    assert near(corners(process(data, AS_PNG)), [WHITE, GREEN, BLUE, WHITE])
    keyed = encoded(quarters(), "PNG", transparency=RED)
    assert near(corners(process(keyed, AS_PNG)), [WHITE, GREEN, BLUE, WHITE])


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation_is_applied(kind, turn):
    exif = Image.Exif()
    exif[0x0112] = turn
    upright = [RED, GREEN, BLUE, WHITE]
    back = {  # how to store it so that the turn brings it back
        1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4,
    }[turn]  # fmt: skip
    stored = quarters()
    if back is not None:
        stored = stored.transpose(Image.Transpose(back))
    options = {"quality": 95} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    made = process(encoded(stored, kind, exif=exif, **options), AS_PNG)
    assert near(corners(made), upright)
    assert (made.width, made.height) == (48, 32)
    assert (made.original_width, made.original_height) == stored.size
    assert "exif" not in Image.open(io.BytesIO(made.data)).info


def test_broken_exif_spoils_nothing():
    data = encoded(quarters(), "JPEG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xffgarbage")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow says so too
        assert isinstance(process(data, SMALL), Picture)


def test_an_animation_gives_its_first_frame():
    frames = [Image.new("RGB", (96, 64), colour) for colour in (RED, GREEN, BLUE)]
    for kind in ("GIF", "WEBP", "PNG"):
        data = encoded(
            frames[0], kind, save_all=True, append_images=frames[1:], duration=50,
            **({"lossless": True} if kind == "WEBP" else {}),
        )  # fmt: skip
        assert near(corners(process(data, AS_PNG)), [RED] * 4), kind


NO_PICTURES = {
    b"<!DOCTYPE html><html></html>": "HTML",
    b"\n\n  <HTML><body>gone</body>": "HTML",
    b"\xef\xbb\xbf<html>": "HTML",
    b"<svg xmlns='http://www.w3.org/2000/svg'/>": "SVG",
    b"<?xml version='1.0'?><svg/>": "SVG",
    b"<?xml version='1.0'?><x/>": "XML",
    b"%PDF-1.7": "PDF",
    b'{"error": 1}': "JSON",
    b"not found": "text",
    b"\x00\x01\x02\x03": "unknown bytes",
    b"x": "text",
}


@pytest.mark.parametrize("data", NO_PICTURES)
def test_what_is_no_picture_is_named(data):
    made = process(data, SMALL)
    assert isinstance(made, Spoiled)
    assert made.failure.error == "not_an_image"
    assert made.failure.message == f"begins like {NO_PICTURES[data]}"


@pytest.mark.parametrize("kind", ["AVIF", "ICO", "JPEG2000"])
def test_formats_that_are_not_decoded_are_named(kind):
    made = process(encoded(quarters(), kind), SMALL)
    assert isinstance(made, Spoiled)
    assert made.failure.error == "unsupported_format"


@pytest.mark.parametrize("name", FORMATS)
def test_a_truncated_picture_is_corrupt(name):
    kind, options = FORMATS[name]
    noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), kind, **options)
    made = process(data[: len(data) // 2], SMALL)
    assert isinstance(made, Spoiled), name
    assert made.failure.error == "corrupt_image"
    assert "0x" not in made.failure.message  # nothing that differs from run to run


@pytest.mark.parametrize(("kind", "extension"), [("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp")])
def test_original_bytes_are_kept_where_no_resize_is_needed(kind, extension):
    data = encoded(quarters((60, 40)), kind)
    made = process(data, KEEP)
    assert made == Picture(data, extension, 60, 40, 60, 40)
    larger = process(encoded(quarters((200, 100)), kind), KEEP)
    assert (larger.extension, larger.width, larger.height) == ("jpg", 128, 64)


def test_what_may_not_be_kept_is_encoded_anew():
    exif = Image.Exif()
    exif[0x0112] = 6
    clear = quarters((60, 40)).convert("RGBA")
    frames = {"save_all": True, "append_images": [quarters((60, 40)).rotate(90)]}
    for data in (
        encoded(quarters((60, 40)), "JPEG", exif=exif),
        encoded(clear, "PNG"),
        encoded(quarters((60, 40)), "GIF"),
        encoded(quarters((60, 40)), "BMP"),
        encoded(quarters((60, 40)), "WEBP", **frames),
    ):
        made = process(data, KEEP)
        assert made.extension == "jpg"
        assert sniff(made.data) == "jpeg"


def test_a_corrupt_picture_is_not_kept():
    data = encoded(quarters((60, 40)), "PNG")
    assert isinstance(process(data[:-30], KEEP), Spoiled)


@pytest.mark.parametrize("extension", ["jpg", "png", "webp"])
def test_the_stored_format_is_the_one_asked_for(extension):
    quality = 3 if extension == "png" else 90
    chosen = DownloadSettings(image_size=32, format=extension, quality=quality)
    made = process(encoded(quarters(), "PNG"), chosen)
    assert made.extension == extension
    assert sniff(made.data) == {"jpg": "jpeg"}.get(extension, extension)


def test_quality_is_img2datasets_default_quality():
    made = process(encoded(quarters(), "PNG"), SMALL)
    tables = Image.open(io.BytesIO(made.data)).quantization
    reference = Image.open(io.BytesIO(encoded(quarters(), "JPEG", quality=95))).quantization
    assert tables == reference


def test_an_embedded_profile_is_not_mistaken_for_anything():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = encoded(quarters(), "JPEG", quality=95, icc_profile=profile)
    assert near(corners(process(data, AS_PNG)), [RED, GREEN, BLUE, WHITE])


def test_the_hash_is_imagehashs_of_the_original():
    x = np.linspace(0, 6, 96)
    waves = np.sin(x[None, :] * 3) + np.cos(x[:64, None] * 5)
    image = Image.fromarray(((waves + 2) * 60).astype(np.uint8)).convert("RGB")
    for kind in ("JPEG", "PNG", "WEBP"):
        data = encoded(image, kind)
        made = process(data, SMALL, phash=True)
        assert made.phash == str(imagehash.phash(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize("turn", [1, 6])
@pytest.mark.parametrize("size", [(60, 40), (400, 300), (1600, 1200)])
def test_the_hash_takes_no_second_decoding(monkeypatch, size, turn):
    """Not where the picture is kept as it is, shrunk a little, or so much that without the hash
    it would be decoded smaller; and what is stored is as near to the original as without."""
    exif = Image.Exif()
    exif[0x0112] = turn
    pixels = np.random.default_rng(1).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)
    data = encoded(picture, "JPEG", quality=90, exif=exif)
    decode, times = simplejpeg.decode_jpeg, []
    monkeypatch.setattr(
        simplejpeg, "decode_jpeg", lambda *a, **k: times.append(1) or decode(*a, **k)
    )
    chosen = replace(SMALL, format="png", quality=1)
    process(data, chosen, phash=True)  # once, libraries are asked whether they agree
    times.clear()
    made = process(data, chosen, phash=True)
    assert len(times) == 1
    assert made.phash == str(imagehash.phash(Image.open(io.BytesIO(data))))
    plain = process(data, chosen)
    assert plain.phash is None
    assert (made.width, made.height, made.extension) == (plain.width, plain.height, plain.extension)
    if made.extension == "png":
        one, other = (np.asarray(Image.open(io.BytesIO(p.data)), int) for p in (made, plain))
        assert np.abs(one - other).mean() < 1.0


@pytest.mark.parametrize(
    "settings",
    [
        DownloadSettings(image_size=64),  # shrunk while it is decoded
        DownloadSettings(image_size=200),
        DownloadSettings(image_size=384),
        DownloadSettings(resize="no", keep_original_bytes=True),
    ],
    ids=["64", "200", "384", "kept"],
)
def test_the_hash_is_of_pillows_pixels(settings: DownloadSettings) -> None:
    pictures = [*photographs()[::3], *(hash_pictures.picture(n) for n in range(0, 500, 11))]
    ramp = Image.linear_gradient("L").resize((301, 203))
    both = Image.merge("RGB", (ramp, ramp.rotate(90).resize(ramp.size), ramp.rotate(180)))
    for how in ({"subsampling": 0}, {"subsampling": 1}, {"progressive": True}, {"quality": 20}):
        pictures += [encoded(both, "JPEG", **how), encoded(both.convert("CMYK"), "JPEG")]
        pictures += [encoded(both.convert("L"), "JPEG", quality=60)]
        exif = Image.Exif()
        exif[0x0112] = 6
        pictures.append(encoded(both, "JPEG", exif=exif, **how))
    for data in pictures:
        hashed = process(data, settings, phash=True)
        if isinstance(hashed, Spoiled):  # what is not decoded at all
            assert hashed == process(data, settings)
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's advice on palettes with transparency
            assert hashed.phash == phash_of_bytes(data)


def test_a_one_pixel_picture_is_a_picture():
    made = process(encoded(Image.new("RGB", (1, 1), RED), "PNG"), AS_PNG)
    assert (made.width, made.height) == (1, 1)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_bytes_whatever_raise(data):
    """Pictures with bytes changed, cut or put in: a picture or a failure, never an exception."""
    kind, options = data.draw(st.sampled_from(list(FORMATS.values())))
    raw = bytearray(encoded(quarters((24, 16)), kind, **options))
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
        if not raw:
            break
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = process(bytes(raw), SMALL, phash=True)
    assert isinstance(made, Picture | Spoiled)


def test_the_same_bytes_give_the_same_picture():
    data = encoded(quarters((300, 200)), "JPEG", quality=90)
    assert process(data, SMALL) == process(data, SMALL)


def test_a_picture_is_untouched_by_the_one_before_in_the_same_memory():
    alone = encoded(Image.effect_noise((700, 500), 80).convert("RGB"), "JPEG")
    larger = encoded(Image.effect_noise((900, 800), 80).convert("RGB"), "JPEG")
    kept = DownloadSettings(image_size=1000)
    for options in (SMALL, kept):
        first = process(alone, options)
        process(larger, options)
        assert process(alone, options) == first


def test_a_picture_beyond_one_block_of_pillows_is_encoded_as_it_is():
    pixels = np.zeros((2100, 2100, 3), np.uint8)  # 17.6 MB in Pillow's memory
    pixels[:, 1050:] = (0, 60, 250)
    made = process(encoded(Image.fromarray(pixels), "PNG"), DownloadSettings(image_size=4000))
    found = np.asarray(Image.open(io.BytesIO(made.data)), int)
    assert np.abs(found[:, :1000] - pixels[:, :1000]).max() <= 2
    assert np.abs(found[:, 1100:] - pixels[:, 1100:]).max() <= 4
