"""Pictures: what the fetched bytes are, decoded, resized and encoded for the shard.

Content is sniffed and never believed, sizes are checked before pixels are decoded, and whatever
a decoder raises is a failure of the row.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from coyo_tools.pieces import plain_jpeg, planes, resize
from coyo_tools.pieces.decoding import fast_pixels, kept_buffer, loaded, luma
from coyo_tools.pieces.encoding import encode, rgbx
from coyo_tools.pieces.sniffing import looks_like, sniff
from coyo_tools.words.config import DownloadSettings
from coyo_tools.words.failures import Failure

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

# Formats that are decoded, with the Pillow class that reads them. The class is called directly:
# `Image.open` would try its other plugins too.
DECODED = {
    "jpeg": ("PIL.JpegImagePlugin", "JpegImageFile"),
    "png": ("PIL.PngImagePlugin", "PngImageFile"),
    "webp": ("PIL.WebPImagePlugin", "WebPImageFile"),
    "gif": ("PIL.GifImagePlugin", "GifImageFile"),
    "bmp": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "tiff": ("PIL.TiffImagePlugin", "TiffImageFile"),
}
EXTENSIONS = {"jpeg": "jpg", "png": "png", "webp": "webp"}
_ORIENTATION = 0x0112  # EXIF tag
_WHOLE_SCALES = (2, 4, 8)  # denominators at which libjpeg decodes smaller
# Scans of a progressive JPEG: a few bytes each, which may cost a pass over all pixels. Encoders
# write about 10. (Scans of other JPEGs have bytes for every block: --max-bytes bounds them.)
_MOST_SCANS, _SCANS_OF_ANY = 500, 30
_SCANNED_PIXELS = 3_000_000_000  # of a picture between these limits
_SCAN = b"\xff\xda\x00"  # its marker and the upper byte of its length (ITU-T T.81, B.2.3)
_LONGEST_SIDE = {"jpg": 65_500, "webp": 16_383}  # px; libjpeg's and libwebp's own limits
# Below six decoded pixels a target pixel, DCT scaling is visibly another picture than area
# averaging (mean PSNR under 42 dB on photographs); from there on it is not.
_DCT_MARGIN = 6.0
# From this factor on, chroma repeated instead of interpolated is averaged away (1 dB or less).
_PLAIN_CHROMA_FROM = 1.9


@dataclass(frozen=True)
class Picture:
    """A picture as it goes into the shard. Sizes in px; the original's as its header says.

    extension: jpg, png or webp, which is what `data` holds. phash: of the original, where asked.
    """

    data: bytes
    extension: str
    width: int
    height: int
    original_width: int
    original_height: int
    phash: str | None = None


@dataclass(frozen=True)
class Spoiled:
    """Bytes that gave no picture. Sizes: px as the header says, where there was one."""

    failure: Failure
    original_width: int | None = None
    original_height: int | None = None


@dataclass(frozen=True)
class _Pixels:
    """A picture ready to be encoded."""

    image: Image.Image
    phash: str | None


def process(data: bytes, settings: DownloadSettings, *, phash: bool = False) -> Picture | Spoiled:
    """Decode, turn upright, flatten on white, resize and encode fetched bytes.

    phash: also hash the original, as Pillow opens it.
    """
    kind = sniff(data)
    if kind is None:
        return Spoiled(Failure("not_an_image", f"begins like {looks_like(data)}"))
    if kind not in DECODED:
        return Spoiled(Failure("unsupported_format", kind))
    if kind == "jpeg" and not phash and (shrunk := _shrunk_at_once(data, settings)):
        return shrunk
    from PIL import Image

    size: tuple[int, int] | None = None
    try:
        image = _open(data, kind)
        size = image.size
        if size[0] * size[1] > settings.max_pixels:
            return Spoiled(Failure("too_many_pixels", f"{size[0]} x {size[1]}"), *size)
        if "progressive" in image.info and data.count(_SCAN) > _most_scans(size):
            return Spoiled(Failure("corrupt_image", "jpeg: too many scans for its size"), *size)
        made = _make(image, data, kind, settings, phash)
    except MemoryError:
        raise
    except Image.DecompressionBombError:
        return Spoiled(Failure("too_many_pixels", "more than Pillow decodes"), *(size or ()))
    except Exception as error:  # noqa: BLE001  a hostile picture makes a decoder raise anything
        failure = Failure("corrupt_image", f"{kind}: {_brief(error)}")
        return Spoiled(failure, *(size or (None, None)))
    if not isinstance(made, _Pixels):
        return made
    stored = encode(made.image, settings.format, settings.quality)
    return Picture(stored, settings.format, *made.image.size, *size, made.phash)


def _too_large(size: tuple[int, int], settings: DownloadSettings) -> Failure | None:
    """Why a picture of that size is not made: narrow ones, enlarged, would take gigabytes."""
    longest = _LONGEST_SIDE.get(settings.format)
    if longest is not None and max(size) > longest:
        return Failure("too_many_pixels", f"{settings.format} holds at most {longest} px a side")
    if size[0] * size[1] > max(settings.max_pixels, settings.image_size**2):
        return Failure("too_many_pixels", f"{size[0]} x {size[1]} when resized")
    return None


def _most_scans(size: tuple[int, int]) -> int:
    return min(_MOST_SCANS, max(_SCANS_OF_ANY, _SCANNED_PIXELS // max(1, size[0] * size[1])))


def _brief(error: Exception) -> str:
    """One line that does not differ from run to run (Pillow names objects by address)."""
    text = str(error).strip().split("\n", 1)[0]
    return type(error).__name__ if "0x" in text or not text else text[:120]


@cache
def _opener(kind: str) -> Any:
    from importlib import import_module

    module, name = DECODED[kind]
    return getattr(import_module(module), name)


def _open(data: bytes, kind: str) -> Image.Image:
    """The picture's header; no pixel is decoded yet."""
    image: Image.Image = _opener(kind)(io.BytesIO(data))
    return image


def _make(
    image: Image.Image, data: bytes, kind: str, settings: DownloadSettings, phash: bool
) -> Picture | Spoiled | _Pixels:
    original = image.size
    decoder = planes.decoder_for(data, kind, image)
    if kind == "png" and not decoder:  # asked for its orientation, it decodes, and hides damage
        image = loaded(data, image)
    turn = 1 if kind == "png" and decoder else _orientation(image)  # FFmpeg gets no turned PNG
    upright = original if turn < 5 else (original[1], original[0])
    geometry = resize.plan(*upright, settings.resize, settings.image_size, settings.only_shrink)
    if geometry is None and settings.keep_original_bytes and _may_keep(image, kind, turn):
        digest = _checked(image, data, kind, phash)  # nothing that does not decode is stored
        return Picture(data, EXTENSIONS[kind], *original, *original, digest)
    if failure := _too_large(geometry.result if geometry else upright, settings):
        return Spoiled(failure, *original)
    averaged = _averaged(upright, geometry, settings)
    towards = geometry if turn == 1 else None
    is_whole = _decoded_size(original, towards) == (0, 0)
    if averaged and decoder and is_whole and turn == 1 and not phash:
        frame = planes.decoded(data, decoder, original)
        if frame and (stored := planes.shrunk_jpeg(frame, averaged, settings.quality)):
            return Picture(stored, "jpg", *averaged, *original)
    if phash:
        pixels, digest = _decode_and_hash(image, data)
    else:
        pixels, digest = _decode(image, data, kind, towards), None
    pixels = _turned(pixels, turn)
    if averaged:
        frame = planes.of_pixels(rgbx(pixels))
        if stored := planes.shrunk_jpeg(frame, averaged, settings.quality):
            return Picture(stored, "jpg", *averaged, *original, digest)
    if geometry is not None:
        pixels = resize.resize(pixels, geometry, settings.interpolation)
    return _Pixels(pixels, digest)


def _shrunk_at_once(data: bytes, settings: DownloadSettings) -> Picture | None:
    """A JPEG that is shrunk to another without a look by Pillow, a fiftieth of the time; None where
    it is not plain, or is to be something else, or FFmpeg objects."""
    header = plain_jpeg.header_of(data)
    if header is None or header.says_more:
        return None
    size = header.size
    if size[0] * size[1] > settings.max_pixels:
        return None
    if header.is_progressive and data.count(_SCAN) > _most_scans(size):
        return None
    geometry = resize.plan(*size, settings.resize, settings.image_size, settings.only_shrink)
    averaged = _averaged(size, geometry, settings)
    if averaged is None or _too_large(averaged, settings):
        return None
    if _decoded_size(size, geometry) != (0, 0):
        return None
    frame = planes.decoded(data, planes.JPEG_DECODER, size)
    stored = planes.shrunk_jpeg(frame, averaged, settings.quality) if frame else None
    return Picture(stored, "jpg", *averaged, *size) if stored else None


def _checked(image: Image.Image, data: bytes, kind: str, phash: bool) -> str | None:
    """Raises where the picture does not decode; its hash where asked."""
    if phash:
        return _decode_and_hash(image, data)[1]
    if kind != "jpeg" or image.mode not in ("RGB", "L") or not _reads_to_its_end(data):
        image.load()
    return None


def _reads_to_its_end(data: bytes) -> bool:
    """Whether a JPEG holds what its header promises: all of it is read, an eighth is drawn."""
    import simplejpeg

    try:
        simplejpeg.decode_jpeg(data, "GRAY", min_factor=8)
    except ValueError:
        return False
    return True


def _averaged(
    upright: tuple[int, int], geometry: resize.Geometry | None, settings: DownloadSettings
) -> tuple[int, int] | None:
    """The size of the JPEG that a picture becomes by area averaging alone, which `planes` does
    best; None where it becomes something else."""
    if geometry is None or geometry.canvas is not None:
        return None
    asked = settings.format == "jpg" and settings.interpolation == "area"
    shrinks = all(a >= b for a, b in zip(upright, geometry.size, strict=True))
    return geometry.size if asked and shrinks else None


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 where there is none or it cannot be read."""
    try:
        turn = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # noqa: BLE001  broken EXIF spoils no picture
        return 1
    return turn if isinstance(turn, int) and turn in range(2, 9) else 1


def _may_keep(image: Image.Image, kind: str, turn: int) -> bool:
    """Whether the bytes can be stored as they are: no turning, no alpha, one frame."""
    still = getattr(image, "n_frames", 1) == 1
    return kind in EXTENSIONS and turn == 1 and still and not image.has_transparency_data


def _decode(
    image: Image.Image, data: bytes, kind: str, geometry: resize.Geometry | None
) -> Image.Image:
    """Pixels on white, as RGB, or as CMYK that stands for RGB and a filler.

    The second form shares memory with the JPEG decoder's output, and the resizer treats both
    alike. geometry: of the target, where the decoder may shrink towards it.
    """
    if kind == "jpeg" and image.mode in ("RGB", "L"):
        pixels = _decode_jpeg(data, image.size, geometry)
        if pixels is not None:
            return pixels
    image.load()
    return _on_white(image)


def _decode_and_hash(image: Image.Image, data: bytes) -> tuple[Image.Image, str]:
    """Pixels as `_decode` gives them, and the hash, which takes Pillow's own pixels, all of them:
    so both are had from one decoding, and nothing is decoded smaller or with plainer chroma."""
    from coyo_tools.pieces.phash import phash_hex, phash_of_grey

    pixels = fast_pixels(data, image)
    if pixels is not None:
        return _without_copy(pixels), phash_of_grey(luma(pixels))
    decoded = loaded(data, image)
    return _on_white(decoded), phash_hex(decoded)


def _without_copy(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> Image.Image:
    """RGBX pixels as a picture that shares their memory, which Pillow allows of CMYK."""
    from PIL import Image

    size = pixels.shape[1], pixels.shape[0]
    return Image.frombuffer("CMYK", size, pixels, "raw", "CMYK", 0, 1)


def _decode_jpeg(
    data: bytes, size: tuple[int, int], geometry: resize.Geometry | None
) -> Image.Image | None:
    """The fast way; None where this decoder objects, and Pillow is to judge.

    The pixels lie in the thread's buffer, until it decodes the next picture.
    """
    import simplejpeg

    width, height = _decoded_size(size, geometry)
    try:
        array = simplejpeg.decode_jpeg(
            data,
            "RGBX",
            fastupsample=_shrinks_by(size, geometry) >= _PLAIN_CHROMA_FROM,
            min_width=width,
            min_height=height,
            buffer=kept_buffer(4 * size[0] * size[1]),
        )
    except ValueError:
        return None
    return _without_copy(array)


def _shrinks_by(size: tuple[int, int], geometry: resize.Geometry | None) -> float:
    """How many decoded pixels come to one of the target, along the side where they are fewer."""
    if geometry is None:
        return 1.0
    return min(size[0] / geometry.size[0], size[1] / geometry.size[1])


def _decoded_size(size: tuple[int, int], geometry: resize.Geometry | None) -> tuple[int, int]:
    """The least size in px that may be decoded without a loss that shows; 0, 0 for the whole."""
    factor = _shrinks_by(size, geometry)
    fitting = [d for d in _WHOLE_SCALES if factor / d >= _DCT_MARGIN]
    if not fitting:
        return 0, 0
    return -(-size[0] // fitting[-1]), -(-size[1] // fitting[-1])


def _on_white(image: Image.Image) -> Image.Image:
    """RGB of any mode; what is transparent becomes white."""
    from PIL import Image

    if image.mode.startswith("I"):
        return _from_16_bit(image)
    if image.mode == "F":
        raise ValueError("floating point pixels")
    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")
    layered = image.convert("RGBA")
    flat = Image.new("RGB", image.size, (255, 255, 255))
    flat.paste(layered, mask=layered.getchannel("A"))
    return flat


def _from_16_bit(image: Image.Image) -> Image.Image:
    """The upper eight of sixteen bits; Pillow's own conversion would cut at 255."""
    import numpy as np
    from PIL import Image

    values = np.asarray(image).astype(np.int64).clip(0, 65535) >> 8
    return Image.fromarray(values.astype(np.uint8)).convert("RGB")


def _turned(image: Image.Image, turn: int) -> Image.Image:
    """Upright, by the EXIF orientation 1 to 8 (EXIF 2.32, tag 0x0112)."""
    from PIL.Image import Transpose

    ways = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return image.transpose(ways[turn]) if turn in ways else image
