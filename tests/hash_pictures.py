"""Pictures of every kind, made by rule: picture N has the same pixels on any machine.

For hashes that are compared with those of an older Pillow (`tools/make_hashes.py` runs this file
with it): numpy and Pillow are all that is imported, all arithmetic is in integers and every
format is lossless, so that no library's rounding, random numbers or encoder matters. (A JPEG made
here would differ by the libjpeg that makes it.)
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

COUNT = 5000
Array = np.ndarray[Any, Any]


class Dice:
    """Random numbers that no release of numpy changes: splitmix64 of a counter."""

    def __init__(self, seed: int) -> None:
        self._at = seed << 32

    def integers(self, count: int, below: int) -> Array:
        """So many in [0, below), int64."""
        steps = np.arange(self._at + 1, self._at + 1 + count, dtype=np.uint64)
        self._at += count
        with np.errstate(over="ignore"):
            z = steps * np.uint64(0x9E3779B97F4A7C15)
            z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
        return ((z >> np.uint64(33)) % np.uint64(below)).astype(np.int64)

    def one(self, low: int, high: int) -> int:
        """One in [low, high]."""
        return low + int(self.integers(1, high - low + 1)[0])

    def of(self, choices: Any) -> Any:
        """One of them."""
        return choices[self.one(0, len(choices) - 1)]


def picture(number: int) -> bytes:
    """Encoded picture `number`, 0 to COUNT - 1."""
    dice = Dice(number)
    width, height = _size(dice)
    return FORMATS[number % len(FORMATS)](dice, width, height)


def name(number: int) -> str:
    """What picture `number` is, for messages: `4321 png, rgb 16`."""
    return f"{number} {FORMATS[number % len(FORMATS)].__name__}"


def _size(dice: Dice) -> tuple[int, int]:
    """px; mostly small, so that thousands take seconds. Every shape, tall ones more than most."""
    kind = dice.one(0, 19)
    if kind == 0:
        return dice.of([(1, 1), (1, 2), (2, 1), (1, 700), (700, 1), (32, 32), (64, 64), (33, 31)])
    if kind <= 2:  # smaller than what it is resized to
        return dice.one(1, 40), dice.one(1, 40)
    if kind <= 6:  # tall
        width = dice.one(1, 150)
        return width, width * dice.one(175, 800) // 100 + 1
    if kind <= 9:  # wide
        height = dice.one(1, 150)
        return height * dice.one(175, 800) // 100 + 1, height
    if kind == 10:  # narrow strips
        return (dice.one(1, 6), dice.one(300, 2500))[:: dice.of([1, -1])]
    if kind == 11:
        return dice.one(300, 1000), dice.one(200, 700)
    return dice.one(32, 280), dice.one(32, 280)


def plane(dice: Dice, width: int, height: int) -> Array:
    """One channel, int64 (height, width), 0 to 65535: what rounding edges and photographs have."""
    kind = dice.one(0, 11)
    if kind == 0:
        return np.full((height, width), dice.one(0, 65535))
    if kind == 1:  # nearly flat
        level = dice.one(0, 65000)
        return level + (dice.integers(height * width, 40) == 0).reshape(height, width) * 257
    if kind == 2:
        return dice.integers(height * width, 65536).reshape(height, width)
    if kind == 3:  # hard edges
        return (dice.integers(height * width, 2) * 65535).reshape(height, width)
    if kind == 4:  # constant along one axis
        line = dice.integers(width, 65536)
        return np.broadcast_to(line, (height, width)).copy()
    if kind == 5:
        return np.broadcast_to(dice.integers(height, 65536)[:, None], (height, width)).copy()
    if kind == 6:
        across = np.arange(width) * 65535 // max(1, width - 1)
        down = np.arange(height) * 65535 // max(1, height - 1)
        return (across + down[:, None]) // 2
    if kind == 7:  # symmetric: many equal coefficients
        half = _clouds(dice, width, (height + 1) // 2)
        return np.concatenate([half, half[: height // 2][::-1]])
    if kind == 8:  # a light square on dark
        found = np.full((height, width), 257 * dice.one(0, 40))
        top, left = dice.one(0, height - 1), dice.one(0, width - 1)
        found[top : top + height // 2 + 1, left : left + width // 2 + 1] = 65535
        return found
    return _clouds(dice, width, height)


def _clouds(dice: Dice, width: int, height: int) -> Array:
    """Noise of several wavelengths, which looks and hashes like a photograph."""
    total = np.zeros((height, width), np.int64)
    for octave, share in ((2, 4), (5, 2), (11, 1), (23, 1)):
        total += _lattice(dice, width, height, octave) * share
    return total // 8


def _lattice(dice: Dice, width: int, height: int, cells: int) -> Array:
    """Random points interpolated linearly, in integers: 0 to 65535."""
    points = dice.integers((cells + 1) ** 2, 65536).reshape(cells + 1, cells + 1)
    y = np.arange(height) * cells * 256 // height
    x = np.arange(width) * cells * 256 // width
    rows, part = points[y >> 8] * (256 - (y & 255))[:, None], (y & 255)[:, None]
    rows = (rows + points[(y >> 8) + 1] * part) >> 8
    found: Array = (rows[:, x >> 8] * (256 - (x & 255)) + rows[:, (x >> 8) + 1] * (x & 255)) >> 8
    return found


def pixels(dice: Dice, width: int, height: int, channels: int, bits: int = 8) -> Array:
    """Int64 (height, width, channels), of so many bits; colours that go together or do not."""
    base = plane(dice, width, height)
    found = [base]
    alike = dice.one(0, 3) > 0
    for _ in range(channels - 1):
        other = plane(dice, width, height)
        found.append((base * 3 + other) // 4 if alike else other)
    return np.stack(found, axis=2) >> (16 - bits)


def _png(values: Array, colour: int, depth: int, chunks: bytes = b"", laced: bool = False) -> bytes:
    """PNG of samples (height, width, channels), each of `depth` bits (ISO/IEC 15948)."""
    height, width = values.shape[:2]
    passes = [values]
    if laced:
        steps = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4))
        steps += ((2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
        passes = [values[y::dy, x::dx] for y, x, dy, dx in steps]
    lines = b"".join(_lines(part, depth) for part in passes if part.size)
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(laced))
    body = _chunk(b"IHDR", head) + chunks + _chunk(b"IDAT", zlib.compress(lines, 1))
    return b"\x89PNG\r\n\x1a\n" + body + _chunk(b"IEND", b"")


def _lines(values: Array, depth: int) -> bytes:
    flat = values.reshape(len(values), -1)
    if depth == 16:
        packed = flat.astype(">u2").view(np.uint8)
    elif depth == 8:
        packed = flat.astype(np.uint8)
    else:
        bits = (flat[:, :, None] >> np.arange(depth - 1, -1, -1)) & 1
        packed = np.packbits(bits.reshape(len(flat), -1).astype(np.uint8), axis=1)
    return np.pad(packed, ((0, 0), (1, 0))).tobytes()  # each line: filter 0, then its bytes


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _saved(image: Image.Image, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def _image(values: Array, mode: str) -> Image.Image:
    """8-bit samples as an image of that mode, taken as they are."""
    height, width = values.shape[:2]
    return Image.frombytes(mode, (width, height), values.astype(np.uint8).tobytes())


def _palette(dice: Dice, width: int, height: int) -> Image.Image:
    image = _image(pixels(dice, width, height, 1), "P")
    image.putpalette(dice.integers(768, 256).astype(np.uint8).tobytes())
    return image


def png_grey(dice: Dice, width: int, height: int) -> bytes:
    depth = dice.of([1, 2, 4, 8, 8])
    values = pixels(dice, width, height, 1, depth)
    clear = _chunk(b"tRNS", struct.pack(">H", dice.one(0, 2**depth - 1)))
    return _png(values, 0, depth, dice.of([b"", b"", clear]), dice.of([False, True]))


def png_grey_16(dice: Dice, width: int, height: int) -> bytes:
    values = pixels(dice, width, height, 1, 16)
    return _png(values >> dice.of([0, 0, 7, 8]), 0, 16, b"", dice.of([False, True]))


def png_rgb(dice: Dice, width: int, height: int) -> bytes:
    values = pixels(dice, width, height, 3)
    clear = _chunk(b"tRNS", struct.pack(">HHH", *values[0, 0].tolist()))
    return _png(values, 2, 8, dice.of([b"", b"", b"", clear]), dice.of([False, False, True]))


def png_rgb_16(dice: Dice, width: int, height: int) -> bytes:
    return _png(pixels(dice, width, height, 3, 16), 2, 16)


def png_palette(dice: Dice, width: int, height: int) -> bytes:
    depth = dice.of([1, 2, 4, 8, 8])
    colours = _chunk(b"PLTE", dice.integers(3 * 2**depth, 256).astype(np.uint8).tobytes())
    return _png(pixels(dice, width, height, 1, depth), 3, depth, colours)


def png_palette_alpha(dice: Dice, width: int, height: int) -> bytes:
    depth = dice.of([1, 2, 4, 8])
    chunks = _chunk(b"PLTE", dice.integers(3 * 2**depth, 256).astype(np.uint8).tobytes())
    alphas = dice.integers(dice.one(1, 2**depth), dice.of([2, 256])) * dice.of([1, 255])
    chunks += _chunk(b"tRNS", alphas.astype(np.uint8).tobytes())
    return _png(pixels(dice, width, height, 1, depth), 3, depth, chunks)


def png_grey_alpha(dice: Dice, width: int, height: int) -> bytes:
    depth = dice.of([8, 8, 16])
    return _png(pixels(dice, width, height, 2, depth), 4, depth)


def png_rgb_alpha(dice: Dice, width: int, height: int) -> bytes:
    depth = dice.of([8, 8, 8, 16])
    return _png(pixels(dice, width, height, 4, depth), 6, depth)


def gif(dice: Dice, width: int, height: int) -> bytes:
    return _saved(_palette(dice, width, height), "GIF", optimize=False)


def gif_transparent(dice: Dice, width: int, height: int) -> bytes:
    image = _palette(dice, width, height)
    return _saved(image, "GIF", optimize=False, transparency=dice.one(0, 255))


def gif_of_two_frames(dice: Dice, width: int, height: int) -> bytes:
    frames = [_palette(dice, width, height) for _ in range(2)]
    return _saved(frames[0], "GIF", save_all=True, append_images=frames[1:], optimize=False)


def bmp(dice: Dice, width: int, height: int) -> bytes:
    mode, channels = dice.of([("L", 1), ("RGB", 3), ("RGB", 3), ("RGBA", 4)])
    return _saved(_image(pixels(dice, width, height, channels), mode), "BMP")


def bmp_palette(dice: Dice, width: int, height: int) -> bytes:
    image = _palette(dice, width, height)
    return _saved(dice.of([image, image.point([0, 255] * 128, "1")]), "BMP")


def tiff(dice: Dice, width: int, height: int) -> bytes:
    mode, channels = dice.of([("L", 1), ("RGB", 3), ("RGBA", 4), ("CMYK", 4)])
    image = _image(pixels(dice, width, height, channels), mode)
    return _saved(image, "TIFF", compression=dice.of([None, "tiff_lzw", "packbits"]))


def tiff_cmyk(dice: Dice, width: int, height: int) -> bytes:
    return _saved(_image(pixels(dice, width, height, 4), "CMYK"), "TIFF")


def tiff_bits(dice: Dice, width: int, height: int) -> bytes:
    image = _image(pixels(dice, width, height, 1), "L").point([0] * 128 + [255] * 128, "1")
    return _saved(image, "TIFF", compression=dice.of([None, "group4"]))


def tiff_16(dice: Dice, width: int, height: int) -> bytes:
    values = pixels(dice, width, height, 1, 16) >> dice.of([0, 0, 7, 8])
    order = dice.of(["I;16", "I;16B"])
    data = values.astype("<u2" if order == "I;16" else ">u2").tobytes()
    return _saved(Image.frombytes(order, (width, height), data), "TIFF")


def tiff_32(dice: Dice, width: int, height: int) -> bytes:
    values = pixels(dice, width, height, 1, 16) >> dice.of([0, 6, 8])
    values -= dice.of([0, 0, 40])
    kind = dice.of([np.int32, np.float32])
    return _saved(Image.fromarray(values[:, :, 0].astype(kind)), "TIFF")


def webp(dice: Dice, width: int, height: int) -> bytes:
    return _saved(_image(pixels(dice, width, height, 3), "RGB"), "WEBP", lossless=True, quality=0)


def webp_alpha(dice: Dice, width: int, height: int) -> bytes:
    image = _image(pixels(dice, width, height, 4), "RGBA")
    return _saved(image, "WEBP", lossless=True, exact=True, quality=0)


def ppm(dice: Dice, width: int, height: int) -> bytes:
    mode, channels = dice.of([("L", 1), ("RGB", 3)])
    return _saved(_image(pixels(dice, width, height, channels), mode), "PPM")


Maker = Callable[[Dice, int, int], bytes]
# Colours without alpha are what most of the web is, so they come more than once.
FORMATS: tuple[Maker, ...] = (
    png_rgb, png_grey, png_grey_16, png_rgb_16, png_palette, png_palette_alpha, png_grey_alpha,
    png_rgb_alpha, gif, gif_transparent, gif_of_two_frames, bmp, bmp_palette, png_rgb, tiff,
    tiff_cmyk, tiff_bits, tiff_16, tiff_32, webp, webp_alpha, ppm, png_rgb, bmp, png_rgb,
)  # fmt: skip
