"""What a download of kept rows is expected to take: requests, bytes and hours, disk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coyo_tools.pieces.census import Census
from coyo_tools.pieces.clusters import Estimate

if TYPE_CHECKING:
    import polars as pl

# Bytes to a stored pixel by --image-size, with this project's own encoder at its defaults (JPEG,
# quality 95, shorter side shrunk to the size), over the bundled photographs (.jpg) that are larger:
# 50, 50, 40 and 24 of them. Of single pictures at 384 px a tenth lies below 0.25, a tenth above
# 0.50. tests/pieces/test_expected.py measures it again.
BYTES_PER_PIXEL = ((224, 0.425), (256, 0.406), (384, 0.363), (512, 0.329))
# Beside the picture: tar headers and padding, KEY.txt, KEY.json (3.3 kB measured in the shards of
# `coyo demo`), and the row of the shard's parquet.
BYTES_BESIDE = 3_600
_SECONDS_AN_HOUR = 3600.0


def stored_pixels(image_size: int) -> pl.Expr:
    """Pixels of a row's picture as `coyo download` stores it by default: the shorter side shrunk to
    `image_size` px, never enlarged. Int64; null where width or height is."""
    import polars as pl

    width, height = (pl.col(name).cast(pl.Float64) for name in ("width", "height"))
    shorter = pl.when(width < height).then(width).otherwise(height)
    scale = (image_size / shorter).clip(upper_bound=1.0)
    return (width * height * scale**2).round().cast(pl.Int64, strict=False)


def bytes_per_pixel(image_size: int) -> float:
    """As measured, in between by interpolation; beyond the ends as at them."""
    import numpy as np

    sizes, figures = zip(*BYTES_PER_PIXEL, strict=True)
    return float(np.interp(image_size, sizes, figures))


@dataclass(frozen=True)
class Disk:
    """Room for the shards. image_size: px. bytes: if every picture is still there. stored: of the
    share that a census found alive, else None."""

    image_size: int
    bytes_per_pixel: float
    bytes: Estimate
    stored: Estimate | None

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "image_size": self.image_size,
            "bytes_per_pixel": self.bytes_per_pixel,
            "bytes_per_row_beside": BYTES_BESIDE,
            "bytes": self.bytes.to_dict(),
            "stored": self.stored and self.stored.to_dict(),
        }


def disk(rows: Estimate, pixels: Estimate, image_size: int, census: Census | None) -> Disk:
    """Room for so many rows, whose pictures have so many pixels once stored."""
    each = bytes_per_pixel(image_size)
    whole = pixels.times(Estimate.exactly(each)).plus(rows.times(Estimate.exactly(BYTES_BESIDE)))
    stored = None if census is None else whole.times(census.alive)
    return Disk(image_size, each, whole, stored)


@dataclass(frozen=True)
class Download:
    """Fetching the kept rows. urls: to fetch, each once. pictures, bytes, hours: None without a
    census; hours on the machine and with the settings that it was made with."""

    urls: Estimate
    pictures: Estimate | None = None
    bytes: Estimate | None = None
    hours: Estimate | None = None
    census: Census | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        figures = {
            "urls": self.urls, "pictures": self.pictures, "bytes": self.bytes, "hours": self.hours,
        }  # fmt: skip
        plain = {name: figure and figure.to_dict() for name, figure in figures.items()}
        return plain | {"census": self.census and self.census.to_dict()}


def download(urls: Estimate, census: Census | None) -> Download:
    """What fetching so many urls takes, as the census goes."""
    if census is None:
        return Download(urls)
    pictures = urls.times(census.alive)
    hours = None  # of a census that got no picture nothing can be told
    if census.images_per_s.value:
        per_hour = census.images_per_s.times(Estimate.exactly(_SECONDS_AN_HOUR))
        hours = pictures.times(per_hour.inverse())
    return Download(urls, pictures, pictures.times(census.bytes_per_image), hours, census)
