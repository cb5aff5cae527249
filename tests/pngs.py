"""PNGs of every kind, and their chunks."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image

from tests.tars import photographs

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def png(image: Image.Image, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()


def chunk(name: bytes, content: bytes) -> bytes:
    ends = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + ends


def repaired(data: bytes) -> bytes:
    """The chunks as far as there are any, each with a checksum that is right."""
    found, at = data[:8], 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if at + 12 + length > len(data):
            break
        found += chunk(data[at + 4 : at + 8], data[at + 8 : at + 8 + length])
        at += 12 + length
    return found + data[at:]


def of_all_kinds() -> dict[str, bytes]:
    """PNGs of every colour type and depth that Pillow writes, of odd sizes."""
    colours = Image.open(io.BytesIO(photographs()[0])).convert("RGB").resize((61, 43))
    grey, clear = colours.convert("L"), colours.convert("RGBA")
    clear.putalpha(grey)
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    found = {
        "bilevel": png(grey.convert("1")),
        "grey": png(grey),
        "grey, transparent": png(clear.convert("LA")),
        "a grey that is clear": png(grey, transparency=7),
        "16 bits": png(deep),
        "colours": png(colours),
        "a colour that is clear": png(colours, transparency=(1, 2, 3)),
        "transparent": png(clear),
    }
    for count in (2, 4, 16, 200):
        found[f"palette of {count}"] = png(colours.quantize(count))
        found[f"clear palette of {count}"] = png(colours.quantize(count), transparency=bytes([0]))
    return found
