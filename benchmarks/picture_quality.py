"""How near the downloader's pictures are to a full decode and cv2's INTER_AREA, dB PSNR.

Each function looks at every `original-*` in a folder that is shrunk to 384 px.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np
from PIL import Image

from coyo_tools.pieces import planes
from coyo_tools.pieces.images import Picture, process
from coyo_tools.words.config import DownloadSettings

Array = np.ndarray[Any, Any]


def before_encoding(www: Path) -> list[float]:
    """Of the planes of YCbCr that are encoded, all samples together."""
    return [psnr(made, in_planes(area)) for _, made, area in shrunk(www)]


def as_stored(www: Path) -> list[float]:
    """Of what is stored, decoded again, in RGB."""
    return [psnr([decoded(data)], [area]) for data, _, area in shrunk(www)]


def as_cv2_stores(www: Path) -> list[float]:
    """Of a JPEG that cv2 makes of the very area averages, as img2dataset does it."""
    found = []
    for _, _, area in shrunk(www):
        quality = [cv2.IMWRITE_JPEG_QUALITY, 95]
        stored = cv2.imencode(".jpg", area[..., ::-1], quality)[1].tobytes()
        found.append(psnr([decoded(stored)], [area]))
    return found


def shrunk(www: Path) -> Iterator[tuple[bytes, list[Array], Array]]:
    """What is stored of a picture, the planes it was encoded from, and the area averages (RGB)."""
    for path in sorted(www.glob("original-*")):
        data = path.read_bytes()
        with mock.patch.object(planes, "jpeg", wraps=planes.jpeg) as encoder:
            made = process(data, DownloadSettings(keep_original_bytes=True))
        if not isinstance(made, Picture) or made.width == made.original_width:
            continue
        whole = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        size = made.width, made.height
        area = cv2.resize(whole, size, interpolation=cv2.INTER_AREA)
        given = (
            list(encoder.call_args.args[:3]) if encoder.called else in_planes(decoded(made.data))
        )
        yield made.data, given, np.asarray(area)


def decoded(data: bytes) -> Array:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def in_planes(rgb: Array) -> list[Array]:
    """YCbCr (JFIF 1.02) with colour averaged in fours, before any rounding."""
    pixels = rgb.astype(np.float64)
    luma = pixels @ [0.299, 0.587, 0.114]
    colours = ((pixels[..., n] - luma) / by + 128 for n, by in ((2, 1.772), (0, 1.402)))
    return [luma, *(in_fours(colour) for colour in colours)]


def in_fours(plane: Array) -> Array:
    height, width = plane.shape
    even = np.pad(plane, ((0, height % 2), (0, width % 2)), "edge")
    means: Array = even.reshape(even.shape[0] // 2, 2, even.shape[1] // 2, 2).mean((1, 3))
    return means


def psnr(found: list[Array], expected: list[Array]) -> float:
    """Peak signal to noise ratio over all samples, dB."""
    errors = [np.subtract(a, b, dtype=np.float64) for a, b in zip(found, expected, strict=True)]
    squares = sum(float(np.sum(error**2)) for error in errors)
    return float(10 * np.log10(255**2 / max(squares / sum(e.size for e in errors), 1e-9)))
