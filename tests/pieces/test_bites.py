"""Parts in bites: every row once, and of a remote part no byte that was not asked for."""

from __future__ import annotations

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coyo_tools.machinery import storage
from coyo_tools.pieces import source
from coyo_tools.pieces.bites import ROW, bites, evenly_decoded, polars_types, serve
from tests.metadata import metadata


@settings(max_examples=50, deadline=None)
@given(sizes=st.lists(st.integers(0, 30), max_size=12), most=st.integers(1, 60))
def test_bites_cover_every_row_group_once_in_order(tmp_path_factory, sizes, most):
    path = tmp_path_factory.mktemp("p") / "p.parquet"
    whole = pa.table({"id": pa.array(range(sum(sizes)), pa.int64())})
    with pq.ParquetWriter(path, whole.schema) as writer:
        for start, size in zip([sum(sizes[:n]) for n in range(len(sizes))], sizes, strict=True):
            if size:
                writer.write_table(whole.slice(start, size), row_group_size=size)
    part = source.open_part(source.part_at(str(path)))
    taken = list(bites(part, most))
    assert [g for bite in taken for g in bite.row_groups] == list(range(part.row_groups))
    assert all(bite.rows <= most or len(bite.row_groups) == 1 for bite in taken)
    ids = []
    for bite in taken:
        with serve(bite) as served:
            ids += served.scan(["id"]).collect()["id"].to_list()
    assert ids == list(range(sum(sizes)))


@pytest.fixture
def remote(tmp_path, monkeypatch):
    """A part behind fsspec's memory file system, and the ranges that are asked of it."""
    import fsspec

    table = metadata(5000)
    table = table.append_column("labels", pa.array([[n, n + 1] for n in range(5000)]))
    pq.write_table(table, tmp_path / "p.parquet", row_group_size=1000)
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/bucket/p.parquet", (tmp_path / "p.parquet").read_bytes())
    asked = []
    real = type(memory).cat_file

    def cat_file(self, path, start=None, end=None, **named):
        asked.append(end - start)
        return real(self, path, start=start, end=end, **named)

    monkeypatch.setattr(type(memory), "cat_file", cat_file)
    assert storage.is_remote("memory://bucket/p.parquet")
    part = source.open_part(source.part_at("memory://bucket/p.parquet"))
    asked.clear()
    yield part, table, asked
    memory.store.clear()


def test_a_remote_part_reads_as_the_local_one(remote):
    part, table, _ = remote
    frames = []
    for bite in bites(part, 2000):
        with serve(bite) as served:
            frames.append(served.scan(table.column_names).collect())
    assert pl.concat(frames).to_arrow().to_pylist() == table.to_pylist()


def test_only_the_columns_asked_for_are_fetched_and_only_once(remote):
    part, _, asked = remote
    bite = next(bites(part, 2000))
    sizes = {
        part.metadata.row_group(0).column(i).path_in_schema: sum(
            part.metadata.row_group(g).column(i).total_compressed_size for g in bite.row_groups
        )
        for i in range(part.metadata.row_group(0).num_columns)
    }
    with serve(bite) as served:
        served.scan(["width", "url"]).collect()
        assert sum(asked) == sizes["width"] + sizes["url"]
        served.scan(["width", "url", "labels"]).collect()
        assert sum(asked) == sizes["width"] + sizes["url"] + sizes["labels.list.element"]
    assert len(asked) == 2 * 3  # neighbours in one request, other row groups in others


@pytest.mark.parametrize("judged", [[], ["watermark_score"], ["text", "id", "when"]])
def test_whatever_the_types_a_judged_scan_has_the_same_rows_and_their_numbers(tmp_path, judged):
    table = metadata(500)
    odd = {
        "width": table["width"].cast(pa.float64()),
        "text": table["text"].dictionary_encode(),
        "labels": pa.array([[n, n + 1] for n in range(500)]),
        "box": pa.array([{"a": n, "b.c": str(n)} for n in range(500)]),
        "when": pa.array(range(500), pa.timestamp("ns", "UTC")),
        "price": pa.array(range(500), pa.decimal128(9, 2)),
        "half": pa.array([0.5] * 500, pa.float16()),
        "bytes": pa.array([b"x"] * 500, pa.binary(1)),
        "a.b": pa.array(range(500)),
        "none": pa.nulls(500),
    }
    for name, values in odd.items():
        at = table.schema.get_field_index(name)
        table = table.append_column(name, values) if at < 0 else table.set_column(at, name, values)
    pq.write_table(table, tmp_path / "p.parquet", row_group_size=100)
    part = source.open_part(source.part_at(str(tmp_path / "p.parquet")))
    columns = [name for name in table.column_names if name != "url"]
    for bite in bites(part, 200):
        with serve(bite) as served:
            rows = served.scan_judged(columns, judged).collect()
            assert rows.drop(ROW).equals(served.scan(columns).collect())
        assert rows[ROW].to_list() == list(range(bite.offset, bite.offset + bite.rows))


def test_what_is_long_to_decode_is_shared_out(tmp_path, monkeypatch):
    table = metadata(5000)
    pq.write_table(table, tmp_path / "p.parquet")
    part = source.open_part(source.part_at(str(tmp_path / "p.parquet")))
    monkeypatch.setattr(pl, "thread_pool_size", lambda: 2)
    columns = [name for name in table.column_names if name not in ("width", "height")]
    order = list(evenly_decoded(next(bites(part)), columns, ["num_faces", "watermark_score"]))
    assert sorted(order) == sorted(table.column_names)
    assert set(order[:2]) == {"num_faces", "watermark_score"}
    assert set(order[-2:]) == {"width", "height"}  # not asked for
    others = order[2:-2]
    first = others[: -(-len(others) // 2)]
    assert ("url" in first) != ("text" in first)


def test_types_without_a_rules_meaning_are_unknown():
    schema = pa.schema(
        [("a", pa.int32()), ("b", pa.uint64()), ("c", pa.float32()), ("d", pa.float64()),
         ("e", pa.string()), ("f", pa.bool_()), ("g", pa.list_(pa.int8())), ("h", pa.date32()),
         ("i", pa.float16()), ("j", pa.null()), ("k", pa.decimal128(5, 2)), ("l", pa.int8())]
    )  # fmt: skip
    assert list(polars_types(schema).values()) == [
        pl.Int32(), pl.UInt64(), pl.Float32(), pl.Float64(), pl.String(), pl.Boolean(),
        pl.Unknown(), pl.Unknown(), pl.Float32(), pl.Null(), pl.Unknown(), pl.Int8(),
    ]  # fmt: skip
