"""Pictures of every odd kind, for every score that looks at one."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image

from coyo_tools.pieces.decoding import decode
from tests.tars import photographs


def _encoded(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def odd_pictures() -> Iterator[tuple[str, bytes]]:
    """Name and encoded bytes of each; all of them can be decoded."""
    photograph = Image.open(io.BytesIO(photographs(1)[0])).convert("RGB").resize((96, 72))
    for mode in ("L", "LA", "RGBA", "P", "1"):
        yield mode, _encoded(photograph.convert(mode))
    yield "CMYK", _encoded(photograph.convert("CMYK"), "JPEG")
    yield "palette with alpha", _encoded(photograph.convert("P"), transparency=bytes(range(256)))
    deep = np.linspace(0, 65535, 40 * 30).reshape(30, 40)
    yield "16 bits", _encoded(Image.fromarray(deep.astype(np.uint16)))
    yield "32 bits", _encoded(Image.fromarray(deep.astype(np.int32)), "TIFF")
    yield "floats", _encoded(Image.fromarray(deep.astype(np.float32)), "TIFF")
    for width, height in ((1, 1), (1, 300), (300, 1), (20_000, 2), (2, 20_000), (40_000, 1)):
        yield f"{width} x {height}", _encoded(Image.new("RGB", (width, height), "teal"))
    yield "turned (EXIF)", _turned(photograph)
    yield (
        "two frames",
        _encoded(photograph, "GIF", save_all=True, append_images=[photograph.rotate(90)]),
    )


def _turned(image: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return _encoded(image, "JPEG", exif=exif)


def decoded(data: bytes) -> Image.Image:
    """The picture as scores get it."""
    image = decode(data)
    assert isinstance(image, Image.Image)
    return image
