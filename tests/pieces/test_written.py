"""written: the same rows give the same bytes, under the types that are asked for."""

from __future__ import annotations

import base64

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from polars.io.plugins import register_io_source

from coyo_tools.pieces import written
from coyo_tools.pieces.written import write_frame
from tests.metadata import metadata


@pytest.fixture
def small_row_groups(monkeypatch):
    monkeypatch.setattr(written, "ROW_GROUP_ROWS", 100)


@pytest.mark.usefixtures("small_row_groups")
def test_how_rows_arrive_does_not_show(tmp_path):
    table = metadata(1000)
    frame = pl.from_arrow(table)

    def in_pieces_of(rows):
        return register_io_source(
            lambda *_: (frame.slice(start, rows) for start in range(0, frame.height, rows)),
            schema=frame.schema,
        )

    for name, lazy in {
        "whole": frame.lazy(),
        "7": in_pieces_of(7),
        "333": in_pieces_of(333),
    }.items():
        write_frame(lazy, tmp_path / name, table.schema, lambda: {"k": "v"})
    found = {path.read_bytes() for path in tmp_path.iterdir()}
    assert len(found) == 1
    file = pq.ParquetFile(tmp_path / "7")
    assert [file.metadata.row_group(i).num_rows for i in range(10)] == [100] * 10
    assert file.read().equals(table)


def test_metadata_is_asked_for_when_the_rows_are_written(tmp_path):
    seen = []

    def passing(values):
        seen.append(len(values))
        return values

    frame = pl.LazyFrame({"x": range(5)}).with_columns(pl.col("x").map_batches(passing, pl.Int64))
    schema = pa.schema([("x", pa.int64())])
    write_frame(frame, tmp_path / "p", schema, lambda: {"rows": str(sum(seen))})
    assert pq.read_metadata(tmp_path / "p").metadata[b"rows"] == b"5"


@pytest.mark.parametrize("columns", [1, 3, 200])  # the footer's lengths take one to three bytes
def test_types_are_stated_as_asked(tmp_path, columns):
    schema = pa.schema([(f"c{n}", pa.string() if n % 2 else pa.int64()) for n in range(columns)])
    data = {f.name: ["é", None] if f.type == pa.string() else [1, None] for f in schema}
    write_frame(pl.LazyFrame(data), tmp_path / "p", schema, lambda: {"other": "kept"})
    table = pq.read_table(tmp_path / "p")
    assert table.schema.remove_metadata() == schema
    assert table.to_pydict() == data
    said = pq.read_metadata(tmp_path / "p").metadata
    assert said[b"other"] == b"kept"
    stated = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(said[b"ARROW:schema"])))
    assert stated == schema
    assert pl.read_parquet(tmp_path / "p").to_dict(as_series=False) == data


def test_a_footer_that_is_not_as_expected_is_left_alone():
    assert written._with_schema(b"no such entry", b"abc") == b"no such entry"


def test_a_text_that_looks_like_the_entry_is_left_alone(tmp_path):
    stated = base64.b64encode(b"x" * 9)
    odd = (b"\x18\x0cARROW:schema\x18" + bytes([len(stated)]) + stated + b"\x00").decode()
    schema = pa.schema([("text", pa.string())])
    write_frame(pl.LazyFrame({"text": [odd, odd]}), tmp_path / "p", schema, dict)
    table = pq.read_table(tmp_path / "p")
    assert table.schema.remove_metadata() == schema
    assert table["text"].to_pylist() == [odd, odd]
    assert pq.read_metadata(tmp_path / "p").row_group(0).column(0).statistics.min == odd
