"""Bytes that are, or claim to be, a picture."""

from __future__ import annotations

import io
import struct
import zlib
from functools import cache

from PIL import Image, ImageCms, PngImagePlugin

RED, BLUE = (200, 30, 30), (30, 30, 200)


def saved(kind: str, image: Image.Image | None = None, **options) -> bytes:
    """A red picture of 64 x 48, or the given one, in a format of Pillow's."""
    buffer = io.BytesIO()
    (image or Image.new("RGB", (64, 48), RED)).save(buffer, kind, **options)
    return buffer.getvalue()


@cache
def jpeg() -> bytes:
    return saved("JPEG")


def animated(kind: str) -> bytes:
    """A red frame, then a blue one."""
    frames = {"save_all": True, "append_images": [Image.new("RGB", (64, 48), BLUE)]}
    return saved(kind, duration=100, **frames)


def chunk(kind: bytes, data: bytes) -> bytes:
    """A PNG chunk (PNG specification, 5.3)."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *chunks: bytes, pixels: bytes | None = None) -> bytes:
    """A PNG, 8 bits RGB, that says it is this large. pixels: deflated; default as many as due."""
    if pixels is None:
        pixels = zlib.compress((b"\0" + bytes(RED) * width) * height)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", header), *chunks, chunk(b"IDAT", pixels), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def vast_png() -> bytes:
    return png(60_000, 60_000, pixels=zlib.compress(bytes(1000)))


def vast_jpeg() -> bytes:
    """The size in the frame header changed; its place follows the marker by three bytes."""
    data = bytearray(jpeg())
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", 65_000, 65_000)
    return bytes(data)


def vast_webp() -> bytes:
    """An extended header with a canvas of 16,384 x 16,384 (RFC 9649, 2.7)."""
    lossless = saved("WEBP", lossless=True)[12:]
    side = (16_383).to_bytes(3, "little")
    extended = b"VP8X" + struct.pack("<I", 10) + bytes(4) + side + side
    return b"RIFF" + struct.pack("<I", 4 + len(extended) + len(lossless)) + b"WEBP" + (
        extended + lossless
    )  # fmt: skip


def vast_gif() -> bytes:
    data = bytearray(saved("GIF"))
    data[6:10] = struct.pack("<HH", 65_535, 65_535)
    return bytes(data)


def vast_tiff() -> bytes:
    """Width and length in the directory changed (TIFF 6.0, tags 256 and 257)."""
    data = bytearray(saved("TIFF"))
    at = struct.unpack_from("<I", data, 4)[0]
    for entry in range(struct.unpack_from("<H", data, at)[0]):
        place = at + 2 + 12 * entry
        if struct.unpack_from("<H", data, place)[0] in (256, 257):
            struct.pack_into("<HII", data, place + 2, 4, 1, 100_000)
    return bytes(data)


def vast_bmp() -> bytes:
    data = bytearray(saved("BMP"))
    struct.pack_into("<ii", data, 18, 100_000, 100_000)
    return bytes(data)


def pixel_bomb() -> bytes:
    """A small PNG whose data inflate to 50 MB."""
    return png(64, 48, pixels=zlib.compress(bytes(50_000_000)))


def text_bomb() -> bytes:
    """A PNG whose text inflates to 50 MB."""
    return png(64, 48, chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(50_000_000))))


def profile_bomb() -> bytes:
    """A PNG whose ICC profile inflates to 50 MB."""
    return png(64, 48, chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(50_000_000))))


def many_texts() -> bytes:
    """A PNG with 3,000 texts of 10,000 bytes each, deflated."""
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(10_000)))
    return png(64, 48, text * 3000)


def with_exif(tiff: bytes) -> bytes:
    """A JPEG with this as EXIF."""
    return saved("JPEG", exif=b"Exif\0\0" + tiff)


def exif_that_counts_high() -> bytes:
    """An orientation of 4 billion values, at an address beyond the end."""
    entry = struct.pack("<HHII", 0x0112, 3, 0xFFFFFFFF, 0xFFFFFF00)
    return with_exif(b"II*\0" + struct.pack("<IH", 8, 1) + entry + bytes(4))


def exif_that_loops() -> bytes:
    """A directory whose successor is itself, with a sub-directory that is itself too."""
    entry = struct.pack("<HHII", 0x8769, 4, 1, 8)
    return with_exif(b"II*\0" + struct.pack("<IH", 8, 1) + entry + struct.pack("<I", 8))


def broken_profile() -> bytes:
    return saved("JPEG", icc_profile=b"no profile" * 5000)


def sound_profile() -> bytes:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return saved("JPEG", icc_profile=profile)


def scan_bomb() -> bytes:
    """A progressive JPEG whose last scan is repeated 2,000 times: each costs a pass over all."""
    data = saved("JPEG", Image.new("RGB", (2000, 2000), RED), progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * 2000 + data[-2:]


def polyglot_script() -> bytes:
    """Begins as a GIF of odd size, goes on as a script."""
    return b"GIF89a=1;/*" + b"*/alert(document.cookie);" * 20


def polyglot_zip() -> bytes:
    """A sound JPEG with an archive after its end."""
    import zipfile

    buffer = io.BytesIO(jpeg())
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("../../evil.sh", "rm -rf /")
    return buffer.getvalue()


def polyglot_comment() -> bytes:
    """A sound PNG whose comment is a web page."""
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "<html><script>alert(1)</script></html>")
    return saved("PNG", pnginfo=info)


SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script/></svg>'
SVG_BOMB = b'<!DOCTYPE svg [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><svg><text>&b;</text></svg>'
HTML = b"<!doctype html><html><title>Not here any more</title></html>"
