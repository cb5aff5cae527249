"""Histograms of columns as one PNG, for pages that show no SVG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from coyo_tools.pieces.report.charts import nice_ticks
from coyo_tools.pieces.report.figures import tick
from coyo_tools.pieces.report.histograms import Histogram, histogram, sample

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

    from coyo_tools.pieces.source import OpenPart

MAX_ROWS = 1_000_000  # read for the histograms; of more, row groups spread evenly
_ACROSS = 3
_WIDTH, _HEIGHT = 600, 320  # px of one histogram, for screens of double density
_LEFT, _TOP, _BOTTOM = 30, 60, 50  # px around its bars
_PAPER, _INK, _FAINT, _BAR = "#ffffff", "#24292f", "#8c959f", "#3b6ea8"


def picture(
    parts: Sequence[OpenPart], columns: Sequence[str]
) -> tuple[bytes, tuple[str, ...]] | None:
    """A PNG with a histogram of each column, and the columns drawn; None where there is nothing.

    A column without a finite value is left out. The same rows give the same bytes with the same
    Pillow. Raises SourceError.
    """
    read = sample(parts, columns, MAX_ROWS)
    drawn = {name: histogram([read.columns[name]]) for name in columns}
    charts = {name: found for name, found in drawn.items() if found is not None}
    return (_png(charts), tuple(charts)) if charts else None


def _png(charts: dict[str, Histogram]) -> bytes:
    from PIL import Image, ImageDraw

    across = min(_ACROSS, len(charts))
    down = -(-len(charts) // across)
    image = Image.new("RGB", (across * _WIDTH, down * _HEIGHT), _PAPER)
    draw = ImageDraw.Draw(image)
    for number, (name, chart) in enumerate(charts.items()):
        _draw(draw, (number % across * _WIDTH, number // across * _HEIGHT), name, chart)
    file = io.BytesIO()
    image.quantize(32).save(file, "PNG", optimize=True)
    return file.getvalue()


def _draw(draw: ImageDraw, corner: tuple[int, int], name: str, chart: Histogram) -> None:
    """One histogram: its name, bars from a base line, ticks below."""
    from PIL import ImageFont

    left, top = corner[0] + _LEFT, corner[1] + _TOP
    width, height = _WIDTH - 2 * _LEFT, _HEIGHT - _TOP - _BOTTOM
    low, high = chart.edges[0], chart.edges[-1]
    peak = max(chart.heights[0]) or 1.0

    def x(value: float) -> float:
        return left + width * (value - low) / (high - low)

    draw.text((left, corner[1] + 18), name, _INK, ImageFont.load_default(26))
    for start, end, share in zip(chart.edges, chart.edges[1:], chart.heights[0], strict=False):
        if share:
            tall = max(1.0, height * share / peak)
            draw.rectangle(
                (round(x(start)), round(top + height - tall), round(x(end)) - 2, top + height),
                _BAR,
            )
    draw.line((left, top + height, left + width, top + height), _FAINT, 2)
    for value in nice_ticks(low, high):
        if not chart.whole or value == int(value):
            words, font = tick(value), ImageFont.load_default(20)
            draw.text((x(value), top + height + 10), words, _FAINT, font, anchor="mt")
