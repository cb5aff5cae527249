"""Encoded bytes to a picture, or to the class of failure. Nothing here raises on bad bytes."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

from coyo_tools.words.failures import Failure

if TYPE_CHECKING:
    from PIL import Image


def decode(data: bytes) -> Image.Image | Failure:
    """The picture as Pillow opens it: first frame, its own mode, no EXIF rotation; or why not.

    Pictures of more pixels than Pillow calls a decompression bomb (about 179 million) fail
    with `too_many_pixels` before they are decoded.
    """
    from PIL import Image, UnidentifiedImageError

    if not data:
        return Failure("empty", "no bytes")
    try:
        image = Image.open(io.BytesIO(data))
        image.load()
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
