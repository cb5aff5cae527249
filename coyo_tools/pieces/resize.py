"""Resizing: target sizes as img2dataset computes them, pixels by a SIMD resizer.

Pictures that are shrunk by area averaging into a JPEG go another way (`planes`): here is the rest.

Area averaging is not what the resizer offers, so it is approximated. Its box filter takes each
source pixel wholly or not at all, its triangle is too wide where much is averaged, and Catmull and
Rom's cubic lies between; which of them comes closest to cv2's INTER_AREA depends on the factor.
Measured on seven photographs: at factors 1.02 to 12 the mean PSNR against INTER_AREA is 44 to
56 dB, the smallest 39 (tests/pieces/test_resize.py holds a bound).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

_TRIANGLE_BELOW = 1.9  # factor: the triangle is near enough, and the cheapest
_BOX_FROM = 4.3  # factor: the box's rounding has become small
_WHOLE = 1e-3  # a factor this near a whole number is one: the box is exact there
_FILTERS = {"linear": "bilinear", "cubic": "catmull_rom", "lanczos": "lanczos3"}


@dataclass(frozen=True)
class Geometry:
    """What to do with one picture, sizes in px. size: after scaling. canvas: after cropping or
    padding to it, centred; None where neither is wanted."""

    size: tuple[int, int]
    canvas: tuple[int, int] | None = None

    @property
    def result(self) -> tuple[int, int]:
        """What comes out, px."""
        return self.canvas or self.size


def plan(width: int, height: int, mode: str, target: int, only_shrink: bool) -> Geometry | None:
    """How a picture of width x height px is resized; None where it stays as it is.

    The rules and the rounding are img2dataset's (resizer.py), with albumentations' rounding of
    half to even.
    """
    if mode == "no":
        return None
    of = min if mode in ("keep_ratio", "center_crop") else max
    if only_shrink and of(width, height) <= target:
        return None
    scale = target / of(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    square = mode in ("center_crop", "border")
    return Geometry(size, (target, target) if square else None)


def resize(image: Image.Image, geometry: Geometry, interpolation: str) -> Image.Image:
    """A new picture of that geometry; four-channel modes are taken as four plain channels.

    image: RGB, or CMYK standing for RGB and a filler. interpolation: for shrinking; a picture
    is always enlarged by Lanczos.
    """
    if geometry.canvas is not None and _grows_beyond(image.size, geometry):
        return _enlarged_crop(image, geometry.size, geometry.canvas)
    scaled = image if image.size == geometry.size else _scale(image, geometry.size, interpolation)
    return scaled if geometry.canvas is None else _on_canvas(scaled, geometry.canvas)


def _scale(image: Image.Image, size: tuple[int, int], interpolation: str) -> Image.Image:
    from PIL import Image

    factors = image.size[0] / size[0], image.size[1] / size[1]
    if max(factors) < 1:
        return _convolve(image, size, "lanczos3")
    if interpolation == "nearest":
        return image.resize(size, Image.Resampling.NEAREST)
    if interpolation != "area":
        return _convolve(image, size, _FILTERS[interpolation])
    if max(factors) >= _BOX_FROM or all(abs(f - round(f)) < _WHOLE for f in factors):
        return _convolve(image, size, "box")
    return _convolve(image, size, "bilinear" if max(factors) < _TRIANGLE_BELOW else "catmull_rom")


def _grows_beyond(size: tuple[int, int], geometry: Geometry) -> bool:
    """Whether a picture is enlarged, to more than what is kept of it."""
    (a, b), (width, height), (most_w, most_h) = size, geometry.size, geometry.result
    return a < width and b < height and (width > most_w or height > most_h)


def _convolve(image: Image.Image, size: tuple[int, int], filter_name: str) -> Image.Image:
    from PIL import Image

    target = Image.new(image.mode, size)
    _resizer().resize_pil(image, target, _options(filter_name))
    return target


def _enlarged_crop(
    image: Image.Image, size: tuple[int, int], canvas: tuple[int, int]
) -> Image.Image:
    """The centre of the picture enlarged to `size`, computed alone: all of a narrow one would
    take gigabytes."""
    from cykooz_resizer import CropBox
    from PIL import Image

    left, top = _corner(size, canvas)
    (a, b), (width, height) = image.size, size
    options = _options("lanczos3").copy()
    options.crop_box = CropBox(
        -left * a / width, -top * b / height, canvas[0] * a / width, canvas[1] * b / height
    )
    target = Image.new(image.mode, canvas)
    _resizer().resize_pil(image, target, options)
    return target


def _resizer() -> Any:
    """One a call: it holds a scratch buffer, which threads must not share."""
    from cykooz_resizer import Resizer

    return Resizer()


@cache
def _options(filter_name: str) -> Any:
    from cykooz_resizer import FilterType, ResizeAlg, ResizeOptions

    algorithm = ResizeAlg.convolution(FilterType[filter_name])
    return ResizeOptions(resize_alg=algorithm, use_alpha=False)


def _on_canvas(image: Image.Image, canvas: tuple[int, int]) -> Image.Image:
    """Centred on white, or cropped at the centre, with albumentations' rounding."""
    from PIL import Image

    target = Image.new(image.mode, canvas, (255,) * len(image.getbands()))
    target.paste(image, _corner(image.size, canvas))
    return target


def _corner(size: tuple[int, int], canvas: tuple[int, int]) -> tuple[int, int]:
    """Where the picture's upper left corner lies on the canvas, px."""

    def along(length: int, room: int) -> int:
        return (room - length) // 2 if length <= room else -((length - room) // 2)

    return along(size[0], canvas[0]), along(size[1], canvas[1])
