"""The planes of YCbCr that a lossy WebP holds, or its colours, by the libwebp that Pillow brings.

Pillow hands out RGB: colour that libwebp has enlarged and converted, for the scaler to convert and
shrink again. libwebp gives the planes themselves too, and is asked to where Pillow has opened the
file, so that what is no sound WebP remains Pillow's to judge. The colours are Pillow's own, without
the way they take through an animation's canvas.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from av import VideoFrame

    Array = np.ndarray[Any, np.dtype[np.uint8]]

_FIRST_CHUNK = 12  # behind RIFF, the file's length and WEBP
_BEFORE_PIXELS = 3  # chunks at most: VP8X, ICCP, and the picture
_TRANSPARENT_OR_ANIMATED = 0x12  # of VP8X's flags (RFC 9649, 2.7.1)
_START_CODE = b"\x9d\x01\x2a"  # of a key frame, behind its tag of three bytes (RFC 6386, 9.1)
_SIDE = 0x3FFF  # the lower 14 bits; the upper two are hints for enlarging it


def lossy_size(data: bytes) -> tuple[int, int] | None:
    """Width and height in px of a still, opaque picture in lossy coding; None of any other."""
    at = _picture_at(data)
    if at is None or data[at + 11 : at + 14] != _START_CODE:
        return None
    sides = data[at + 14 : at + 18]
    if len(sides) < 4:
        return None
    width, height = (int.from_bytes(side, "little") for side in (sides[:2], sides[2:]))
    return width & _SIDE, height & _SIDE


def _picture_at(data: bytes) -> int | None:
    """Where the chunk of the one lossy picture begins."""
    at = _FIRST_CHUNK
    for _ in range(_BEFORE_PIXELS):
        name, flags = data[at : at + 4], data[at + 8 : at + 9]
        if name == b"VP8 ":
            return at
        is_simple = name == b"VP8X" and flags and not flags[0] & _TRANSPARENT_OR_ANIMATED
        if not is_simple and name != b"ICCP":
            return None
        at += _chunk_bytes(data, at)
    return None


def _chunk_bytes(data: bytes, at: int) -> int:
    """A chunk's length, its name and what fills it up to even bytes included."""
    length = int.from_bytes(data[at + 4 : at + 8], "little")
    return 8 + length + length % 2


def decoded(data: bytes, size: tuple[int, int]) -> VideoFrame | None:
    """The planes of a WebP of which `lossy_size` gives `size`, 4:2:0 in studio range; None where
    libwebp objects, or cannot be reached."""
    import av

    picture = _picture(data, size)
    decode = picture and _decode_into("WebPDecodeYUVInto", planes=3)
    if not decode:
        return None
    frame: VideoFrame = av.VideoFrame(*size, "yuv420p")
    into: list[int] = []
    for plane in frame.planes:
        into += plane.buffer_ptr, plane.buffer_size, plane.line_size
    return frame if decode(picture, len(picture), *into) else None


def decode_colours(data: bytes, into: Array) -> bool:
    """Fill uint8 (height, width, 4), in one piece, with the red, green and blue of such a picture,
    and 255. False where libwebp objects, cannot be reached, or the picture has another size."""
    height, width, _ = into.shape
    picture = _picture(data, (width, height))
    decode = picture and _decode_into("WebPDecodeRGBAInto", planes=1)
    if not decode:
        return False
    return bool(decode(picture, len(picture), into.ctypes.data, into.nbytes, into.strides[0]))


def _picture(data: bytes, size: tuple[int, int]) -> bytes:
    """Its own chunk, or libwebp would read on in what lies behind; empty where it has no such
    size."""
    at = _picture_at(data) if lossy_size(data) == size else None
    return b"" if at is None else data[at : at + _chunk_bytes(data, at)]


@cache
def _decode_into(name: str, planes: int) -> Callable[..., Any] | None:
    """A function of libwebp's; None where Pillow has no libwebp, or keeps it to itself.

    The symbol is looked for in Pillow's own extension, so that it is found in the very library
    that this has loaded, wherever that lies. It checks the planes' sizes against the picture's.
    """
    import ctypes

    try:
        from PIL import _webp

        found: Any = getattr(ctypes.CDLL(_webp.__file__), name)
    except (ImportError, OSError, AttributeError):
        return None
    plane = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    found.argtypes = (ctypes.c_char_p, ctypes.c_size_t, *(plane * planes))
    found.restype = ctypes.c_void_p
    loaded: Callable[..., Any] = found
    return loaded
