"""JPEGs that every decoder reads alike, by a look at their segments and at no pixel.

What is plain is complete and in order: YCbCr in one of three samplings, one frame of 8 bits, then
scans and their tables, to the end of the image. On all else decoders disagree, and it is Pillow's
to judge (docs/decisions/0013-planes.md).
"""

from __future__ import annotations

import re
from typing import NamedTuple

SAMPLINGS = "420", "422", "444"  # that FFmpeg and libjpeg call by one name
# Markers (ITU-T T.81, table B.1), and what the coded data of a scan does not hold.
_SCAN, _TABLES, _COMMENT, _END_OF_IMAGE = 0xDA, 0xC4, 0xFE, b"\xff\xd9"
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = 0xC2
_APPLICATIONS = range(0xE0, 0xF0)
_BARE = frozenset((0x00, 0x01, *range(0xD0, 0xDA), 0xFF))  # with which no segment begins
_BEHIND_A_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7]")
_EIGHT_BITS = b"\x08"
_MOST_SEGMENTS = 2000  # that are looked at; a picture has tens, of a camera hundreds
# On whose word FFmpeg takes a JPEG for a frame of a film: two fields, or upside down.
_OF_FILMS = (b"AVI1", b"AVID", b"MJPG", b"LJIF", b"CS=ITU601", b"Metasoft", b"Intel(R)")
# JFIF, an embedded profile, a comment: nothing by which a picture is turned, or is several.
_SILENT = frozenset((0xE0, 0xE2, _COMMENT))
_PROFILE = b"ICC_PROFILE\x00"


class Header(NamedTuple):
    """Of a plain JPEG. size: width and height in px. says_more: whether a segment may turn it
    (EXIF, XMP) or is of a kind that is not known here."""

    size: tuple[int, int]
    is_progressive: bool
    says_more: bool


def header_of(data: bytes) -> Header | None:
    """The header of a plain JPEG; None of any other."""
    import simplejpeg

    found = _looked_through(data)
    if found is None:
        return None
    try:
        height, width, colours, sampling = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return None
    if colours != "YCbCr" or sampling not in SAMPLINGS:
        return None
    return Header((width, height), *found)


def _looked_through(data: bytes) -> tuple[bool, bool] | None:
    """Whether it is progressive, and whether it says more; None where its segments are not in
    order to its end, as where an end follows no scan: there a decoder runs out of data."""
    at, frame, scanned, says_more = 2, 0, False, False
    for _ in range(_MOST_SEGMENTS):
        if at + 4 > len(data) or data[at] != 0xFF or data[at + 1] in _BARE:
            break
        marker, content = data[at + 1], at + 4
        if scanned:
            if marker not in (_SCAN, _TABLES):
                return None
        elif marker in _FRAMES:
            if frame or not data.startswith(_EIGHT_BITS, content):
                return None
            frame = marker
        elif marker in _APPLICATIONS or marker == _COMMENT:
            if data.startswith(_OF_FILMS, content):
                return None
            is_profile = data.startswith(_PROFILE, content)
            says_more |= marker not in _SILENT or (marker == 0xE2 and not is_profile)
        at += 2 + int.from_bytes(data[at + 2 : content], "big")
        if marker == _SCAN:
            scanned = True
            found = _BEHIND_A_SCAN.search(data, at)
            if found is None:
                return None
            at = found.start()
    if not (scanned and frame and data.startswith(_END_OF_IMAGE, at)):
        return None
    return frame == _PROGRESSIVE, says_more
