"""Encoded bytes to a picture, or to the class of failure. Nothing here raises on bad bytes."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

from coyo_tools.words.failures import Failure

if TYPE_CHECKING:
    from PIL import Image


_SAMPLINGS = ("444", "422", "420")  # those that the check below covers


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
    if isinstance(image.info.get("transparency"), bytes):
        del image.info["transparency"]  # Pillow would advise RGBA at each conversion
    return image


def open_picture(data: bytes) -> Image.Image:
    """The picture with Pillow's pixels, decoded; plain JPEGs by simplejpeg, which is faster.

    Raises what Pillow raises where it does not open or decode.
    """
    from PIL import Image

    image: Image.Image = Image.open(io.BytesIO(data))
    if image.format in ("JPEG", "MPO") and image.mode == "RGB" and _jpeg_agrees():
        fast = _simplejpeg(data, image.size)
        if fast is not None:
            return fast
    image.load()
    return image


def _simplejpeg(data: bytes, size: tuple[int, int]) -> Image.Image | None:
    """The picture, or None where it is better left to Pillow: odd kinds and damaged ones."""
    import simplejpeg
    from PIL import Image

    try:
        height, width, colours, sampling = simplejpeg.decode_jpeg_header(data)
        if (width, height) != size or colours != "YCbCr" or sampling not in _SAMPLINGS:
            return None
        pixels = simplejpeg.decode_jpeg(data, "RGBX")
    except ValueError:
        return None
    return Image.frombytes("RGB", size, pixels, "raw", "RGBX")


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
        if found is None or not np.array_equal(np.asarray(found), np.asarray(Image.open(buffer))):
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
