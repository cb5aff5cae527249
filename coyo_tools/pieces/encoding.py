"""Pictures as the bytes that are stored."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from coyo_tools.pieces.decoding import own_memory

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image


def encode(image: Image.Image, extension: str, quality: int) -> bytes:
    """The picture as jpg, png or webp. quality: as in `DownloadSettings`."""
    if extension == "jpg":
        return _jpeg(image, quality)
    rgb = _plain_rgb(image)
    buffer = io.BytesIO()
    if extension == "png":
        rgb.save(buffer, "PNG", compress_level=quality)
    else:
        rgb.save(buffer, "WEBP", quality=quality)
    return buffer.getvalue()


def _jpeg(image: Image.Image, quality: int) -> bytes:
    import simplejpeg

    pixels = rgbx(image)
    return bytes(simplejpeg.encode_jpeg(pixels, max(1, quality), "RGBX", "420"))


def rgbx(image: Image.Image) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Pixels of an RGB or CMYK picture, uint8 (height, width, 4): its own memory where that is
    one piece, which Pillow's is up to 16 MB."""
    import numpy as np

    width, height = image.size
    flat = own_memory(image)
    if flat is None:
        layout = "RGBX" if image.mode == "RGB" else "CMYK"
        flat = np.frombuffer(image.tobytes("raw", layout), np.uint8)
    pixels: np.ndarray[Any, np.dtype[np.uint8]] = flat.reshape(height, width, 4)
    return pixels


def _plain_rgb(image: Image.Image) -> Image.Image:
    from PIL import Image

    if image.mode == "RGB":
        return image
    return Image.frombytes("RGB", image.size, image.tobytes(), "raw", "RGBX")
