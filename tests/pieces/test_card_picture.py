"""The histograms as a PNG."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
from PIL import Image

from coyo_tools.pieces.card_picture import picture
from coyo_tools.pieces.source import find
from tests.metadata import write_parts


def drawn(tmp_path, columns):
    write_parts(tmp_path / "data", [pa.table(columns)])
    found = picture(find(str(tmp_path / "data")).open_all(), list(columns))
    return found and (Image.open(io.BytesIO(found[0])).convert("RGB"), found[1], found[0])


def bars(image, left, top, width, height):
    """How many pixels of each column of a region are a bar's."""
    region = np.asarray(image)[top : top + height, left : left + width]
    return (region[..., 2].astype(int) - region[..., 0] > 60).sum(axis=0)


def test_bars_are_as_tall_as_the_counts(tmp_path):
    values = [0.0] * 100 + [1.0] * 50 + [0.5] * 10
    image, names, _ = drawn(tmp_path, {"a": values})
    assert names == ("a",)
    assert image.size == (600, 320)
    tall = bars(image, 30, 60, 540, 211)
    ends = tall[:20].max(), tall[-20:].max()
    assert abs(ends[0] - 210) <= 1
    assert abs(ends[1] - 106) <= 2
    assert 15 <= tall[200:340].max() <= 25


def test_each_column_has_its_place(tmp_path):
    image, names, _ = drawn(tmp_path, {name: [1.0, 2.0, 3.0] for name in "abcd"})
    assert names == ("a", "b", "c", "d")
    assert image.size == (1800, 640)
    assert bars(image, 0, 320, 600, 320).any()
    assert not bars(image, 600, 320, 1200, 320).any()


def test_a_column_without_a_finite_value_is_left_out(tmp_path):
    _, names, _ = drawn(tmp_path, {"a": [1.0, 2.0], "b": [float("nan"), float("inf")]})
    assert names == ("a",)


def test_nothing_to_draw(tmp_path):
    assert drawn(tmp_path, {"a": pa.array([None], pa.float32())}) is None


def test_the_same_rows_give_the_same_bytes(tmp_path):
    columns = {"a": [1.0, 5.0, 2.5], "num_faces": pa.array([0, 3, 1], pa.int32())}
    assert drawn(tmp_path, columns)[2] == drawn(tmp_path, columns)[2]
