from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from coyo_tools.pieces import source
from coyo_tools.pieces.shard_plan import Plan, Reader
from coyo_tools.words.errors import SchemaError
from tests.tables import coyo_table, write_parts


def ids(stream: bytes) -> list[int]:
    return pa.ipc.open_stream(stream).read_all().column("id").to_pylist()


@pytest.mark.parametrize("rows_a_shard", [1, 7, 10, 33, 1000])
@pytest.mark.parametrize(("parts", "row_group_rows"), [(1, None), (3, 4), (5, 1)])
def test_shards_cut_the_rows_of_all_parts(tmp_path, rows_a_shard, parts, row_group_rows):
    table = coyo_table([f"http://example.org/{n}" for n in range(33)])
    write_parts(tmp_path, table, parts, row_group_rows)
    plan = Plan.of(source.find(tmp_path), rows_a_shard, with_phash=False)
    assert (plan.rows, plan.shards) == (33, -(-33 // rows_a_shard))
    found = []
    with Reader(plan) as reader:
        for number in range(plan.shards):
            start, end = plan.rows_of(number)
            piece = ids(reader.stream(start, end))
            assert len(piece) == end - start
            found += piece
    assert found == table.column("id").to_pylist()


def test_shards_that_are_there_are_skipped(tmp_path):
    table = coyo_table([f"http://example.org/{n}" for n in range(40)])
    write_parts(tmp_path, table, 2, 5)
    plan = Plan.of(source.find(tmp_path), 6, with_phash=False)
    with Reader(plan) as reader:
        for number in (1, 5):
            start, end = plan.rows_of(number)
            assert ids(reader.stream(start, end)) == table.column("id").to_pylist()[start:end]


def test_parts_may_differ_in_types_but_not_in_columns(tmp_path):
    table = coyo_table(["http://example.org/a", "http://example.org/b"])
    pq.write_table(
        table.append_column("extra", pa.array([1, 2], pa.int32())), tmp_path / "a.parquet"
    )
    pq.write_table(
        table.append_column("extra", pa.array([1, 2], pa.int64())), tmp_path / "b.parquet"
    )
    plan = Plan.of(source.find(tmp_path), 10, with_phash=False)
    with Reader(plan) as reader:
        whole = pa.ipc.open_stream(reader.stream(0, 4)).read_all()
    assert whole.schema.field("extra").type == pa.int32()
    pq.write_table(table, tmp_path / "c.parquet")
    with pytest.raises(SchemaError, match="extra"):
        Plan.of(source.find(tmp_path), 10, with_phash=False)


def test_the_schema_is_the_same_in_every_shard(tmp_path):
    table = coyo_table([f"http://example.org/{n}" for n in range(4)])
    at = table.column_names.index("image_phash")
    table = table.set_column(at, "image_phash", pa.array([None, None, "f" * 16, "f" * 16]))
    write_parts(tmp_path, table, 1)
    plan = Plan.of(source.find(tmp_path), 2, with_phash=False)
    with Reader(plan) as reader:
        first, second = (
            pa.ipc.open_stream(reader.stream(*plan.rows_of(n))).read_all().schema for n in (0, 1)
        )
    assert first.equals(second)
