"""image_phash: the 64-bit perceptual hash COYO publishes, as 16 hex digits.

It is `imagehash.phash` with hash_size 8 and highfreq_factor 4, of the picture as Pillow opens
it: the first frame, no EXIF rotation, before any resize. Half of a hash's bits are set (except
where pictures are flat), so the distance of two is even.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coyo_tools.pieces.decoding import open_grey, without_palette_alpha
from coyo_tools.pieces.shrink import shrink

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

HEX_DIGITS = 16
SAME_AT_MOST = 8  # bits: resizing and re-encoding move a hash by fewer
DRIFTED_AT_MOST = 16  # bits: unrelated pictures differ by more
SAME, DRIFTED, REPLACED, UNKNOWN = "same", "drifted", "replaced", "unknown"


def phash_hex(image: Image.Image) -> str:
    """The hash of an open picture, 16 lower-case hex digits; equal to `str(imagehash.phash(i))`.

    Raises what Pillow raises where the picture does not decode.
    """
    return _hash(shrink(without_palette_alpha(image).convert("L")))


def _hash(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> str:
    """imagehash's own steps on 32 x 32 pixels: the low 8 x 8 of the DCT against their median."""
    import numpy as np
    from scipy import fftpack  # newer DCTs round otherwise where pictures are flat

    frequencies = fftpack.dct(fftpack.dct(pixels, axis=0), axis=1)[:8, :8]
    return np.packbits(frequencies > np.median(frequencies)).tobytes().hex()


def phash_of_bytes(data: bytes) -> str:
    """The hash of an encoded picture. Raises what Pillow raises where it does not decode."""
    return _hash(shrink(open_grey(data)))


def distance(a: str, b: str) -> int:
    """Bits in which two hashes differ, 0 to 64. Raises ValueError where one is no hash."""
    if len(a) != HEX_DIGITS or len(b) != HEX_DIGITS:
        raise ValueError(f"not two hashes of {HEX_DIGITS} hex digits: {a!r}, {b!r}")
    return (int(a, 16) ^ int(b, 16)).bit_count()


def drift(bits: int) -> str:
    """What a distance says of a picture that was fetched again: same, drifted or replaced.

    At most 8 bits is the same picture, resized or encoded anew; 9 to 16 one that was changed;
    more is another picture.
    """
    if bits <= SAME_AT_MOST:
        return SAME
    return DRIFTED if bits <= DRIFTED_AT_MOST else REPLACED
