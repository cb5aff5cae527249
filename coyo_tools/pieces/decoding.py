"""Encoded bytes to a picture, or to the class of failure. Nothing here raises on bad bytes."""

from __future__ import annotations

import contextlib
import io
import threading
import warnings
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from coyo_tools.words.failures import Failure

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image


_SAMPLINGS = ("444", "422", "420")  # those that the check below covers
_KEPT_BYTES = 1 << 26
_kept = threading.local()


def decode(data: bytes) -> Image.Image | Failure:
    """The picture as Pillow opens it: first frame, its own mode, no EXIF rotation; or why not.

    Pictures of more pixels than Pillow calls a decompression bomb (about 179 million) fail
    with `too_many_pixels` before they are decoded.
    """
    from PIL import Image, UnidentifiedImageError

    if not data:
        return Failure("empty", "no bytes")
    try:
        image = open_picture(data)
    except UnidentifiedImageError:
        return Failure("not_an_image", "no format Pillow knows")
    except Image.DecompressionBombError as error:
        return Failure("too_many_pixels", _line(error))
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001  on broken bytes Pillow's plugins raise anything
        return Failure("corrupt_image", _line(error))
    return without_palette_alpha(image)


def open_picture(data: bytes) -> Image.Image:
    """The picture with Pillow's pixels, decoded; plain JPEGs by simplejpeg, which is faster.

    Raises what Pillow raises where it does not open or decode.
    """
    from PIL import Image

    image: Image.Image = Image.open(io.BytesIO(data))
    pixels = _jpeg_pixels(data, image)
    if pixels is not None:
        return Image.frombytes("RGB", image.size, pixels, "raw", "RGBX")
    image.load()
    return image


def open_grey(data: bytes) -> Image.Image:
    """`open_picture(data).convert("L")`, without the copy of the colours between."""
    from PIL import Image

    image: Image.Image = Image.open(io.BytesIO(data))
    pixels = _jpeg_pixels(data, image)
    if pixels is not None:
        return Image.frombuffer("RGBX", image.size, pixels, "raw", "RGBX", 0, 1).convert("L")
    image.load()
    return without_palette_alpha(image).convert("L")


def without_palette_alpha(image: Image.Image) -> Image.Image:
    """The same pixels without a palette's transparency, which Pillow would remark on."""
    if not isinstance(image.info.get("transparency"), bytes):
        return image
    image = image.copy()
    del image.info["transparency"]
    return image


def _jpeg_pixels(data: bytes, image: Image.Image) -> np.ndarray[Any, np.dtype[np.uint8]] | None:
    """RGBX pixels of a plain JPEG that Pillow has opened, in a buffer of this thread's; or None."""
    if image.format not in ("JPEG", "MPO") or image.mode != "RGB" or not _jpeg_agrees():
        return None
    return _simplejpeg(data, image.size)


def _simplejpeg(data: bytes, size: tuple[int, int]) -> np.ndarray[Any, np.dtype[np.uint8]] | None:
    """RGBX pixels, or None where the picture is better left to Pillow: odd kinds, damaged ones."""
    import simplejpeg

    try:
        height, width, colours, sampling = simplejpeg.decode_jpeg_header(data)
        if (width, height) != size or colours != "YCbCr" or sampling not in _SAMPLINGS:
            return None
        found: np.ndarray[Any, np.dtype[np.uint8]] = simplejpeg.decode_jpeg(
            data, "RGBX", buffer=kept_buffer(4 * width * height)
        )
    except ValueError:
        return None
    return found


def kept_buffer(size: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Memory that the thread keeps: fresh pages for every picture cost as much as decoding it.

    size: bytes. What lies in it is overwritten by the thread's next use.
    """
    import numpy as np

    kept: np.ndarray[Any, np.dtype[np.uint8]] | None = getattr(_kept, "buffer", None)
    if kept is not None and len(kept) >= size:
        return kept[:size]
    fresh = np.empty(size, np.uint8)
    if size <= _KEPT_BYTES:
        _kept.buffer = fresh
    return fresh


@cache
def _jpeg_agrees() -> bool:
    """Whether simplejpeg and the installed Pillow decode the same pixels.

    They bring a libjpeg each. The same release decodes alike, but nothing promises the same one.
    """
    import numpy as np
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (53, 67, 3), np.uint8)
    pixels[:, 30:] = np.linspace(0, 255, 37)[:, None]
    for sampling, progressive in ((0, False), (1, False), (2, False), (2, True)):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(
            buffer, "JPEG", quality=80, subsampling=sampling, progressive=progressive
        )
        found = _simplejpeg(buffer.getvalue(), (67, 53))
        expected = np.asarray(Image.open(buffer))
        if found is None or not np.array_equal(found[:, :, :3], expected):
            return False
    return True


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without Pillow's remarks on odd metadata and large pictures: they are no failures.

    For a whole run, around its threads: Python's warning filters belong to the process.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]
