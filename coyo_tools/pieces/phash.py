"""image_phash: the 64-bit perceptual hash COYO publishes, as 16 hex digits.

It is `imagehash.phash` with hash_size 8 and highfreq_factor 4, of the picture as Pillow opens
it: the first frame, no EXIF rotation, before any resize; bit for bit as Pillow 9 to 12.1 give it,
whatever Pillow is installed (docs/decisions/0011-phash-order.md). Half of a hash's bits are set
(except where pictures are flat), so the distance of two is even.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from coyo_tools.pieces.decoding import grey, open_grey
from coyo_tools.pieces.shrink import SIDE, shrink

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    Array = np.ndarray[Any, Any]

HEX_DIGITS = 16
LOW = 8  # frequencies of each axis that the hash is made of
# A frequency is at most 2^20 and a sum of 1024 products, so that neither way errs by 1e-7.
_DOUBT = 1e-6
SAME_AT_MOST = 8  # bits: resizing and re-encoding move a hash by fewer
DRIFTED_AT_MOST = 16  # bits: unrelated pictures differ by more
SAME, DRIFTED, REPLACED, UNKNOWN = "same", "drifted", "replaced", "unknown"


def phash_hex(image: Image.Image) -> str:
    """The hash of an open picture, 16 lower-case hex digits.

    Raises what Pillow raises where the picture does not decode.
    """
    return phash_of_grey(grey(image))


def phash_of_bytes(data: bytes) -> str:
    """The hash of an encoded picture. Raises what Pillow raises where it does not decode."""
    return phash_of_grey(open_grey(data))


def phashes_of_greys(pictures: Sequence[Array]) -> list[str]:
    """The hashes of several, as `phash_of_grey` gives each; in less time, since a step's code is in
    the core's caches from the second picture on."""
    small = [shrink(pixels) for pixels in pictures]
    return [_hash(pixels) for pixels in small]


def phash_of_grey(pixels: Array) -> str:
    """The hash of what Pillow's conversion to L gives, uint8 (height, width)."""
    return _hash(shrink(pixels))


def _hash(pixels: Array) -> str:
    """imagehash's own steps on 32 x 32 pixels: the low 8 x 8 of the DCT against their median.

    The DCT is a matrix product where no rounding of it could cross the median; else scipy's, which
    is imagehash's: where a picture is flat or symmetric, its rounding errors make bits.
    """
    import numpy as np

    cosines = _cosines()
    frequencies = cosines @ pixels @ cosines.T
    low, high = np.sort(frequencies, axis=None)[31:33]
    if high - low < _DOUBT:
        frequencies = _scipys(pixels)
        return _digits(frequencies > np.median(frequencies))
    return _digits(frequencies > (low + high) / 2)


def _digits(bits: Array) -> str:
    import numpy as np

    return np.packbits(bits).tobytes().hex()


def _scipys(pixels: Array) -> Array:
    from scipy import fftpack

    found: Array = fftpack.dct(fftpack.dct(pixels, axis=0), axis=1)[:LOW, :LOW]
    return found


@cache
def _cosines() -> Array:
    """The lowest 8 rows of the unscaled DCT of 32 values (type II, scipy's): float64 (8, 32)."""
    import numpy as np

    angles = np.arange(LOW)[:, None] * (2 * np.arange(SIDE) + 1) * (np.pi / (2 * SIDE))
    return np.asarray(2 * np.cos(angles))


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
