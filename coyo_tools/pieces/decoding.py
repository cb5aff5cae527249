"""Encoded bytes to a picture, or to the class of failure. Nothing here raises on bad bytes."""

from __future__ import annotations

import contextlib
import io
import logging
import threading
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from coyo_tools.pieces import inflate, plain_jpeg, planes, webp_planes
from coyo_tools.words.failures import Failure

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    Array = np.ndarray[Any, np.dtype[np.uint8]]

Picture = TypeVar("Picture")
_SAMPLINGS = ("444", "422", "420")  # those that the check below covers
_KEPT_BYTES = 1 << 26
_kept = threading.local()


def decode(data: bytes, least_side: int | None = None) -> Image.Image | Failure:
    """The picture as Pillow opens it: first frame, its own mode, no EXIF rotation; or why not.

    least_side: a JPEG may come at a half, a quarter or an eighth of its size as long as both
    sides keep so many px; its pixels are then not those of the whole picture shrunk.

    Pictures of more pixels than Pillow calls a decompression bomb (about 179 million) fail
    with `too_many_pixels` before they are decoded.
    """
    found = _or_failure(lambda: open_picture(data, least_side), data)
    return found if isinstance(found, Failure) else without_palette_alpha(found)


def decode_grey(data: bytes) -> Array | Failure:
    """What Pillow's conversion to L gives of the same, uint8 (height, width); or why not."""
    return _or_failure(lambda: open_grey(data), data)


def _or_failure(opened: Callable[[], Picture], data: bytes) -> Picture | Failure:
    from PIL import Image, UnidentifiedImageError

    if not data:
        return Failure("empty", "no bytes")
    try:
        return opened()
    except UnidentifiedImageError:
        return Failure("not_an_image", "no format Pillow knows")
    except Image.DecompressionBombError as error:
        return Failure("too_many_pixels", _line(error))
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001  on broken bytes Pillow's plugins raise anything
        return Failure("corrupt_image", _line(error))


def open_picture(data: bytes, least_side: int | None = None) -> Image.Image:
    """The picture with Pillow's pixels, decoded; plain JPEGs by simplejpeg and lossy WebP without
    the detour that Pillow takes, which is faster.

    Raises what Pillow raises where it does not open or decode.
    """
    from PIL import Image

    if least_side is None and (plain := _plain_pixels(data)) is not None:
        return Image.frombytes("RGB", plain.shape[1::-1], plain, "raw", "RGBX")
    image: Image.Image = Image.open(io.BytesIO(data))
    if least_side is not None and min(image.size) >= 2 * least_side:
        image.draft(None, (least_side, least_side))
    pixels = fast_pixels(data, image)
    if pixels is not None:
        return Image.frombytes("RGB", image.size, pixels, "raw", "RGBX")
    return loaded(data, image)


def loaded(data: bytes, image: Image.Image) -> Image.Image:
    """The picture that Pillow has opened, with its pixels. Plain PNGs by FFmpeg and the other ones
    after ISA-L's inflating, which is faster.

    Raises what Pillow raises where it does not decode.
    """
    if image.format == "PNG" and image.tile:  # type: ignore[attr-defined]  # not yet decoded
        found = _by_ffmpeg(data, image) or _inflated(data, image)
        if found is not None:
            return found
    image.load()
    return image


def _by_ffmpeg(data: bytes, image: Image.Image) -> Image.Image | None:
    """A plain PNG's pixels, which are Pillow's; None where it is none."""
    from PIL import Image

    decoder = planes.decoder_for(data, "png", image)
    frame = planes.decoded(data, decoder, image.size) if decoder else None
    if frame is None:
        return None
    plane = frame.planes[0]
    return Image.frombytes("RGB", image.size, memoryview(plane), "raw", "RGB", plane.line_size)


def _inflated(data: bytes, image: Image.Image) -> Image.Image | None:
    """A PNG decoded by Pillow, but for inflating; None where Pillow is to do that too."""
    stored = inflate.stored(data)
    if stored is None:
        return None
    same: Any = type(image)
    found: Image.Image = same(io.BytesIO(stored))
    try:
        found.load()
    except Exception:  # noqa: BLE001  Pillow's to judge, of what it was given
        return None
    return found


def open_grey(data: bytes) -> Array:
    """`open_picture(data).convert("L")` as uint8 (height, width), without a copy of the colours.

    Raises what Pillow raises where it does not open or decode.
    """
    from PIL import Image

    plain = _plain_pixels(data)
    if plain is not None:
        return luma(plain)
    image: Image.Image = Image.open(io.BytesIO(data))
    pixels = fast_pixels(data, image)
    if pixels is not None:
        return luma(pixels)
    return grey(loaded(data, image))


def grey(image: Image.Image) -> Array:
    """Pillow's conversion to L, of a decoded picture of any mode: uint8 (height, width)."""
    return _grey_pixels(without_palette_alpha(image).convert("L"))


def luma(pixels: Array) -> Array:
    """Pillow's conversion of RGB to L. pixels: uint8 (height, width, 4), the fourth is ignored."""
    from PIL import Image

    size = pixels.shape[1], pixels.shape[0]
    coloured = Image.frombuffer("RGBX", size, pixels, "raw", "RGBX", 0, 1)
    return _grey_pixels(coloured.convert("L"))


def _grey_pixels(image: Image.Image) -> Array:
    """Of a mode L image: its own memory, where it is one piece."""
    flat = own_memory(image)
    pixels: Array
    if flat is None:
        import numpy as np

        pixels = np.asarray(image)
    else:
        pixels = flat.reshape(image.height, image.width)
    return pixels


def own_memory(image: Image.Image) -> Array | None:
    """The bytes in which Pillow keeps the picture, not to be written to; None where they are no
    one piece, which they are up to 16 MB. Pillow keeps RGB in four bytes a pixel."""
    import numpy as np
    import pyarrow as pa

    try:
        exported = pa.array(image)
    except ValueError:
        return None
    # Not by arrow's to_numpy: it imports pandas.
    return np.frombuffer(exported.buffers()[-1], np.uint8)


def without_palette_alpha(image: Image.Image) -> Image.Image:
    """The same pixels without a palette's transparency, which Pillow would remark on."""
    if not isinstance(image.info.get("transparency"), bytes):
        return image
    image = image.copy()
    del image.info["transparency"]
    return image


def _plain_pixels(data: bytes) -> Array | None:
    """RGBX pixels of a JPEG that Pillow need not open to say what it is, which takes it 0.1 ms; in
    a buffer of this thread's. None where it is to judge."""
    from PIL import Image

    header = plain_jpeg.header_of(data)
    if header is None or not _jpeg_agrees():
        return None
    width, height = header.size
    most = Image.MAX_IMAGE_PIXELS  # from which on it warns
    if most is not None and width * height > most:
        return None
    return _pixels(data, header.size)


def fast_pixels(data: bytes, image: Image.Image) -> Array | None:
    """RGBX pixels of a plain JPEG or a lossy WebP that Pillow has opened, in a buffer of this
    thread's; or None."""
    if image.mode != "RGB":
        return None
    if image.format == "WEBP":
        return _webp(data, image.size)
    if image.format not in ("JPEG", "MPO") or not _jpeg_agrees():
        return None
    return _simplejpeg(data, image.size)


def _webp(data: bytes, size: tuple[int, int]) -> Array | None:
    if webp_planes.lossy_size(data) != size:
        return None
    width, height = size
    pixels: Array = kept_buffer(4 * width * height).reshape(height, width, 4)
    return pixels if webp_planes.decode_colours(data, pixels) else None


def _simplejpeg(data: bytes, size: tuple[int, int]) -> Array | None:
    """RGBX pixels, or None where the picture is better left to Pillow: odd kinds, damaged ones."""
    import simplejpeg

    try:
        height, width, colours, sampling = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return None
    if (width, height) != size or colours != "YCbCr" or sampling not in _SAMPLINGS:
        return None
    return _pixels(data, size)


def _pixels(data: bytes, size: tuple[int, int]) -> Array | None:
    """The same of a JPEG whose header says that it is none of the odd kinds."""
    import simplejpeg

    width, height = size
    try:
        found: Array = simplejpeg.decode_jpeg(data, "RGBX", buffer=kept_buffer(4 * width * height))
    except ValueError:
        return None
    return found


def kept_buffer(size: int) -> Array:
    """Memory that the thread keeps: fresh pages for every picture cost as much as decoding it.

    size: bytes. What lies in it is overwritten by the thread's next use.
    """
    import numpy as np

    kept: Array | None = getattr(_kept, "buffer", None)
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


def unconvertible(image: Image.Image) -> Failure | None:
    """Why a decoded picture is of a kind that Pillow converts neither to colours nor to grey."""
    try:
        for mode in ("RGB", "L"):
            image.convert(mode)
    except (OSError, ValueError) as error:
        return Failure("corrupt_image", _line(error))
    return None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without Pillow's remarks on odd metadata and large pictures: they are no failures.

    For a whole run, around its threads: Python's warning filters belong to the process.
    """
    nobody = logging.NullHandler()  # without one Python prints what Pillow logs of odd tags
    logging.getLogger("PIL").addHandler(nobody)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.getLogger("PIL").removeHandler(nobody)


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]
