"""What a download is expected to take, against the downloader's own pictures."""

from __future__ import annotations

import math

import polars as pl
import pytest

from coyo_tools.pieces import expected, resize
from coyo_tools.pieces.census import Census
from coyo_tools.pieces.clusters import Estimate
from coyo_tools.pieces.demo_data import demo_pictures, picture_bytes
from coyo_tools.pieces.images import Picture, process
from coyo_tools.words.config import DownloadSettings

CENSUS = Census(
    "c/census.json", "s", 1000,
    Estimate(0.5, 0.45, 0.55), Estimate(200_000, 190_000, 210_000), Estimate(100, 90, 110),
)  # fmt: skip


@pytest.mark.parametrize(("size", "figure"), expected.BYTES_PER_PIXEL)
def test_bytes_a_pixel_are_what_the_encoder_gives_on_the_bundled_photographs(size, figure):
    settings = DownloadSettings(image_size=size)
    made = [process(picture_bytes(p.file), settings) for p in demo_pictures()
            if p.file.endswith(".jpg")]  # fmt: skip
    larger = [p for p in made if isinstance(p, Picture)
              and min(p.original_width, p.original_height) > size]  # fmt: skip
    measured = sum(len(p.data) for p in larger) / sum(p.width * p.height for p in larger)
    assert len(larger) >= 24
    assert figure == pytest.approx(measured, rel=0.02)
    assert expected.bytes_per_pixel(size) == figure


def test_between_the_measured_sizes_it_is_interpolated_and_beyond_them_kept():
    assert expected.bytes_per_pixel(320) == pytest.approx((0.406 + 0.363) / 2)
    assert (expected.bytes_per_pixel(64), expected.bytes_per_pixel(4000)) == (0.425, 0.329)


def test_pixels_are_those_that_the_downloader_stores():
    sizes = [(640, 480), (480, 640), (200, 300), (384, 384), (385, 1000), (21449, 8000), (1, 5)]
    frame = pl.DataFrame(sizes, schema=["width", "height"], orient="row")
    found = frame.select(expected.stored_pixels(384)).to_series().to_list()
    for (width, height), pixels in zip(sizes, found, strict=True):
        geometry = resize.plan(width, height, "keep_ratio", 384, only_shrink=True)
        stored = geometry.size if geometry else (width, height)
        assert pixels == pytest.approx(stored[0] * stored[1], abs=200)  # a side rounds to a px


def test_rows_without_a_size_have_no_pixels():
    frame = pl.DataFrame({"width": [None, 100, 0], "height": [100, None, 0]})
    assert frame.select(expected.stored_pixels(10)).to_series().to_list() == [None, None, 0]


def test_bytes_and_hours_follow_from_the_census():
    found = expected.download(Estimate.exactly(7_200_000), CENSUS)
    assert found.pictures.value == 3_600_000
    assert found.bytes.value == 3_600_000 * 200_000
    assert found.hours.value == pytest.approx(10)
    assert found.hours.high / 10 == pytest.approx(
        math.exp(math.hypot(math.log(1.1), math.log(100 / 90)))
    )
    assert found.bytes.low < found.bytes.value < found.bytes.high
    assert found.to_dict()["census"]["urls"] == 1000


def test_without_a_census_only_the_urls_are_known():
    found = expected.download(Estimate.exactly(5), None)
    assert found.to_dict() == {
        "urls": {"value": 5, "low": 5, "high": 5},
        "pictures": None, "bytes": None, "hours": None, "census": None,
    }  # fmt: skip


def test_a_census_that_got_no_picture_tells_no_hours():
    dead = Census("c", "s", 10, Estimate(0, 0, 0.3), Estimate(0, 0, 0), Estimate(0, 0, 0))
    found = expected.download(Estimate.exactly(100), dead)
    assert (found.pictures, found.hours) == (Estimate(0, 0, 30), None)


def test_disk_is_pixels_and_what_lies_beside_them():
    rows, pixels = Estimate.exactly(10), Estimate(1e6, 0.9e6, 1.1e6)
    room = expected.disk(rows, pixels, 384, CENSUS)
    assert room.bytes.value == pytest.approx(363_000 + 36_000)
    assert room.bytes.high == pytest.approx(1.1 * 363_000 + 36_000)
    assert room.stored.value == pytest.approx(room.bytes.value / 2)
    assert expected.disk(rows, pixels, 384, None).stored is None
