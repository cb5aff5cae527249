"""Pictures as planes of YCbCr: from fetched bytes to a smaller JPEG without a detour over RGB.

A JPEG holds a plane of brightness and two of colour, a quarter as large as a rule. FFmpeg decodes
them as they are, its scaler averages each plane's area, and libjpeg encodes them: no colour is
interpolated and no pixel converted. Pixels of other pictures are converted while they are scaled.

FFmpeg is given only what is certainly plain (`decoder_for`), by the decoder's name, so that nothing
is guessed; whatever it does not decode is Pillow's to judge. See docs/decisions/0013-planes.md.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from coyo_tools.pieces import inflate

if TYPE_CHECKING:
    import numpy as np
    from av import VideoFrame
    from PIL import Image

    Array = np.ndarray[Any, np.dtype[np.uint8]]

_JPEG_FORMATS = {"420": "yuvj420p", "422": "yuvj422p", "444": "yuvj444p"}
_CODECS = {"jpeg": "mjpeg", "png": "png"}
_FORMATS = (*_JPEG_FORMATS.values(), "rgb24")
# Markers of JPEG (ITU-T T.81, table B.1), and what the coded data of a scan does not hold.
_SCAN, _TABLES, _END_OF_IMAGE = 0xDA, 0xC4, b"\xff\xd9"
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BARE = frozenset((0x00, 0x01, *range(0xD0, 0xDA), 0xFF))  # with which no segment begins
_BEHIND_A_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7]")
# Segments on whose word FFmpeg takes a JPEG for a frame of a film: two fields, or upside down.
_OF_FILMS = (b"AVI1", b"AVID", b"MJPG", b"LJIF", b"CS=ITU601", b"Metasoft", b"Intel(R)")
_PNG_HEADER = b"\x08\x02\x00\x00"  # 8 bits, RGB, the one compression, the one filter method
_PNG_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_MAY_TURN = (b"Raw profile type", b"XML:com.adobe.xmp")  # where Pillow looks for an orientation
_PNG_ODD = (b"tRNS", b"eXIf", b"acTL", b"fdAT")  # transparent, to be turned, animated
_MOST_PARTS = (
    2000  # segments or chunks that are looked at; a picture has tens, of a camera hundreds
)
_MARGIN = 64  # px a side: FFmpeg counts whole blocks
# Of libswscale: area averaging, rounding to nearest, the same on every processor, colour from every
# pixel of RGB and not from every other.
_AREA, _ROUND, _EXACT, _FULL_COLOUR = 0x20, 0x40000, 0x80000, 0x2000 | 0x4000
_SCALING = _AREA | _ROUND | _EXACT | _FULL_COLOUR
_FULL_RANGE = 2  # AVCOL_RANGE_JPEG: 0 to 255


def decoder_for(data: bytes, kind: str, image: Image.Image) -> str | None:
    """FFmpeg's decoder for a picture that Pillow has opened; None where only Pillow may decode it:
    other modes than RGB, transparency, animations, unusual sampling, a missing end."""
    if image.mode != "RGB":
        return None
    plain = {"jpeg": _plain_jpeg, "png": _plain_png}.get(kind)
    return _CODECS[kind] if plain is not None and plain(data, image) else None


def decoded(data: bytes, decoder: str, size: tuple[int, int]) -> VideoFrame | None:
    """The picture's planes; None where FFmpeg objects, or finds another size in px, or a PNG's
    pixels are not what its header says, which FFmpeg would not mind."""
    import av

    if decoder == _CODECS["png"]:
        whole = inflate.stored(data)
        if whole is None:
            return None
        data = whole
    context: Any = _silenced().CodecContext.create(decoder, "r")
    context.thread_count = 1
    most = (size[0] + _MARGIN) * (size[1] + _MARGIN)
    context.options = {"err_detect": "explode", "max_pixels": str(most)}
    try:
        frames = context.decode(av.Packet(data))
    except (av.FFmpegError, ValueError):
        return None
    if not frames or (frames[0].width, frames[0].height) != size:
        return None
    frame: VideoFrame = frames[0]
    return frame if frame.format.name in _FORMATS and not frame.is_corrupt else None


def of_pixels(pixels: Array) -> VideoFrame:
    """RGBX pixels, uint8 (height, width, 4), as a frame that shares their memory."""
    frame: VideoFrame = _silenced().VideoFrame.from_numpy_buffer(pixels, "rgba")
    return frame


def shrunk_jpeg(frame: VideoFrame, size: tuple[int, int], quality: int) -> bytes | None:
    """A JPEG of `size` (px), 4:2:0; None where FFmpeg objects. quality: 0 to 100; libjpeg takes 0
    for 1."""
    planes = shrunk(frame, size)
    return None if planes is None else jpeg(*planes, quality)


def shrunk(frame: VideoFrame, size: tuple[int, int]) -> tuple[Array, Array, Array] | None:
    """Brightness (Y), blue (Cb) and red (Cr) as JFIF has them, each sample the mean of the area it
    stands for: uint8 (height, width), and twice half as high and wide, rounded up. None where
    FFmpeg objects.

    On photographs the mean PSNR against cv2's INTER_AREA is 56 dB (tests/pieces/test_planes.py).
    """
    import av
    from av.video.reformatter import VideoReformatter

    scaling: Any = VideoReformatter()  # keeps what it computed for one size, and is no thread's
    try:
        scaled = scaling.reformat(
            frame,
            *size,
            format="yuvj420p",
            interpolation=_SCALING,
            dst_color_range=_FULL_RANGE,
            threads=1,
        )
    except (av.FFmpegError, ValueError):
        return None
    luma, blue, red = (_samples(plane) for plane in scaled.planes)
    return luma, blue, red


def jpeg(luma: Array, blue: Array, red: Array, quality: int) -> bytes:
    """A JPEG out of planes as `shrunk` gives them."""
    import numpy as np
    import simplejpeg

    height, width = luma.shape
    if height % 2 or width % 2:  # the encoder reads the whole of the last pair of rows and columns
        luma = np.pad(luma, ((0, height % 2), (0, width % 2)), "edge")[:height, :width]
    return bytes(simplejpeg.encode_jpeg_yuv_planes(luma, blue, red, max(1, quality)))


def _samples(plane: Any) -> Array:
    """uint8 (height, width), in the frame's memory."""
    import numpy as np

    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    samples: Array = rows[: plane.height, : plane.width]
    return samples


@cache
def _silenced() -> Any:
    """PyAV; what FFmpeg has to say of broken pictures goes nowhere."""
    import av

    av.logging.set_level(None)
    return av


def _plain_jpeg(data: bytes, image: Any) -> bool:
    """YCbCr as libjpeg sees it, in a sampling that both call by one name, and complete: where an
    end follows the last scan, no decoder runs out of data."""
    import simplejpeg

    try:
        *_, colours, sampling = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return False
    if colours != "YCbCr" or sampling not in _JPEG_FORMATS:
        return False
    if any(said.startswith(_OF_FILMS) for _, said in getattr(image, "applist", ())):
        return False
    return _is_in_order(data)


def _is_in_order(data: bytes) -> bool:
    """Whether segments follow one another, a frame, then scans and their tables, to the end of the
    image. On what is not so decoders disagree, and libjpeg's word counts."""
    at, frames, scanned = 2, 0, False
    for _ in range(_MOST_PARTS):
        if at + 4 > len(data) or data[at] != 0xFF or data[at + 1] in _BARE:
            break
        marker = data[at + 1]
        if scanned and marker not in (_SCAN, _TABLES):
            return False
        frames += marker in _FRAMES
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == _SCAN:
            scanned = True
            found = _BEHIND_A_SCAN.search(data, at)
            if found is None:
                return False
            at = found.start()
    return scanned and frames == 1 and data.startswith(_END_OF_IMAGE, at)


def _plain_png(data: bytes, image: Image.Image) -> bool:
    """Eight bits of RGB, every chunk complete, and none that hides pixels or turns them."""
    del image
    if data[24:28] != _PNG_HEADER:
        return False
    at, name = 8, b""
    for _ in range(_MOST_PARTS):
        if at + 12 > len(data) or name == b"IEND":
            break
        name, length = data[at + 4 : at + 8], int.from_bytes(data[at : at + 4], "big")
        if name in _PNG_ODD:
            return False
        if name in _PNG_TEXTS and data.startswith(_MAY_TURN, at + 8):
            return False
        at += 12 + length
    return name == b"IEND" and at <= len(data)
