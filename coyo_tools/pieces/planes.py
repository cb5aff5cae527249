"""Pictures as planes of YCbCr: from fetched bytes to a smaller JPEG without a detour over RGB.

A JPEG holds a plane of brightness and two of colour, a quarter as large as a rule. FFmpeg decodes
them as they are, its scaler averages each plane's area, and libjpeg encodes them: no colour is
interpolated and no pixel converted. Pixels of other pictures are converted while they are scaled.

FFmpeg is given only what is certainly plain (`decoder_for`), by the decoder's name, so that nothing
is guessed; whatever it does not decode is Pillow's to judge. Of lossy WebP libwebp has the planes.
See docs/decisions/0013-planes.md.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from coyo_tools.pieces import inflate, plain_jpeg, webp_planes

if TYPE_CHECKING:
    import numpy as np
    from av import VideoFrame
    from PIL import Image

    Array = np.ndarray[Any, np.dtype[np.uint8]]

JPEG_DECODER = "mjpeg"
WEBP_DECODER = "libwebp"  # not FFmpeg's, which passes files that libwebp refuses
_DECODERS = {"jpeg": JPEG_DECODER, "png": "png", "webp": WEBP_DECODER}
_FORMATS = (*(f"yuvj{sampling}p" for sampling in plain_jpeg.SAMPLINGS), "rgb24")
_PNG_HEADER = b"\x08\x02\x00\x00"  # 8 bits, RGB, the one compression, the one filter method
_PNG_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_MAY_TURN = (b"Raw profile type", b"XML:com.adobe.xmp")  # where Pillow looks for an orientation
_PNG_ODD = (b"tRNS", b"eXIf", b"acTL", b"fdAT")  # transparent, to be turned, animated
_MOST_CHUNKS = 2000  # that are looked at; a picture has tens
_MARGIN = 64  # px a side: FFmpeg counts whole blocks
_INVERSE_DCT = "xvid"  # a tenth quicker than what FFmpeg would take, and as exact
# Of libswscale: area averaging, rounding to nearest, the same on every processor, colour from every
# pixel of RGB and not from every other.
_AREA, _ROUND, _EXACT, _FULL_COLOUR = 0x20, 0x40000, 0x80000, 0x2000 | 0x4000
_SCALING = _AREA | _ROUND | _EXACT | _FULL_COLOUR
_FULL_RANGE = 2  # AVCOL_RANGE_JPEG: 0 to 255


def decoder_for(data: bytes, kind: str, image: Image.Image) -> str | None:
    """What decodes a picture that Pillow has opened; None where only Pillow may: other modes than
    RGB, transparency, animations, lossless WebP, JPEGs that are not plain (`plain_jpeg`)."""
    if image.mode != "RGB":
        return None
    ways: dict[str, Callable[[bytes], object]] = {
        "jpeg": plain_jpeg.header_of,
        "png": _plain_png,
        "webp": webp_planes.lossy_size,
    }
    is_plain = ways.get(kind)
    return _DECODERS[kind] if is_plain is not None and is_plain(data) else None


def decoded(data: bytes, decoder: str, size: tuple[int, int]) -> VideoFrame | None:
    """The picture's planes; None where FFmpeg or libwebp objects, or finds another size in px, or a
    PNG's pixels are not what its header says, which FFmpeg would not mind."""
    import av

    if decoder == WEBP_DECODER:
        return webp_planes.decoded(data, size)
    if decoder == _DECODERS["png"]:
        whole = inflate.stored(data)
        if whole is None:
            return None
        data = whole
    context: Any = _silenced().CodecContext.create(decoder, "r")
    context.thread_count = 1
    most = (size[0] + _MARGIN) * (size[1] + _MARGIN)
    context.options = {"err_detect": "explode", "max_pixels": str(most), "idct": _INVERSE_DCT}
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
    import simplejpeg

    if luma.shape[0] % 2 or luma.shape[1] % 2:
        luma = _with_whole_pairs(luma)
    return bytes(simplejpeg.encode_jpeg_yuv_planes(luma, blue, red, max(1, quality)))


def _with_whole_pairs(luma: Array) -> Array:
    """The same samples, behind which the last row and column lie once more where they are odd: the
    encoder reads them in pairs. (`numpy.pad` takes 0.1 ms, a fortieth of a whole picture.)"""
    import numpy as np

    height, width = luma.shape
    whole: Array = np.empty((height + height % 2, width + width % 2), np.uint8)
    whole[:height, :width] = luma
    whole[:height, width:] = luma[:, -1:]
    whole[height:] = whole[height - 1]
    return whole[:height, :width]


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


def _plain_png(data: bytes) -> bool:
    """Eight bits of RGB, every chunk complete, and none that hides pixels or turns them."""
    if data[24:28] != _PNG_HEADER:
        return False
    at, name = 8, b""
    for _ in range(_MOST_CHUNKS):
        if at + 12 > len(data) or name == b"IEND":
            break
        name, length = data[at + 4 : at + 8], int.from_bytes(data[at : at + 4], "big")
        if name in _PNG_ODD:
            return False
        if name in _PNG_TEXTS and data.startswith(_MAY_TURN, at + 8):
            return False
        at += 12 + length
    return name == b"IEND" and at <= len(data)
