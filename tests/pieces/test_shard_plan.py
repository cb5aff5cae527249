from __future__ import annotations

from decimal import Decimal

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


def write_extra(folder, *extra: pa.Array) -> None:
    """Parts a, b ... with these values of a further column."""
    for letter, values in zip("abc", extra, strict=False):
        table = coyo_table([f"http://example.org/{letter}{n}" for n in range(len(values))])
        pq.write_table(table.append_column("extra", values), folder / f"{letter}.parquet")


def test_parts_may_not_differ_in_columns(tmp_path):
    write_extra(tmp_path, pa.array([1, 2]))
    pq.write_table(coyo_table(["http://example.org/b"]), tmp_path / "b.parquet")
    with pytest.raises(SchemaError, match="extra"):
        Plan.of(source.find(tmp_path), 10, with_phash=False)


@pytest.mark.parametrize(
    ("one", "other", "common"),
    [
        (pa.array([1, 2], pa.int32()), pa.array([2**40], pa.int64()), pa.int64()),
        (pa.array([2**40], pa.int64()), pa.array([1], pa.int32()), pa.int64()),
        (pa.array([2**40], pa.int64()), pa.array([4.5], pa.float64()), pa.float64()),
        (pa.array([4.5], pa.float32()), pa.array([7], pa.int64()), pa.float64()),
        (pa.array([None], pa.null()), pa.array(["x"]), pa.string()),
        (pa.array(["x"]).dictionary_encode(), pa.array(["y"]), pa.string()),
        (pa.array([[1]], pa.list_(pa.int32())), pa.array([[2]]), pa.list_(pa.int64())),
    ],
)
def test_parts_may_differ_in_types_that_one_type_holds(tmp_path, one, other, common):
    write_extra(tmp_path, one, other)
    plan = Plan.of(source.find(tmp_path), 10, with_phash=False)
    with Reader(plan) as reader:
        whole = pa.ipc.open_stream(reader.stream(0, plan.rows)).read_all()
    assert whole.schema.field("extra").type == common
    assert whole.column("extra").to_pylist() == [*one.to_pylist(), *other.to_pylist()]


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        (pa.array([1]), pa.array(["x"]), "is string, but int64 in the parts before it"),
        (pa.array([True]), pa.array([1.5]), "is float64, but bool in the parts before it"),
        (
            pa.array([Decimal("1.1")]),
            pa.array([1.5]),
            r"is float64, but decimal128\(2, 1\) in the parts before it",
        ),
    ],
)
def test_types_that_no_type_holds_are_named(tmp_path, one, other, said):
    write_extra(tmp_path, one, other)
    with pytest.raises(SchemaError, match=rf"b\.parquet: column 'extra' {said}; write the parts"):
        Plan.of(source.find(tmp_path), 10, with_phash=False)


def test_a_value_that_the_common_type_does_not_hold_is_named(tmp_path):
    write_extra(tmp_path, pa.array([4.5]), pa.array([2**53 + 1]))
    plan = Plan.of(source.find(tmp_path), 10, with_phash=False)
    with Reader(plan) as reader, pytest.raises(SchemaError, match=r"'extra' is int64 .* float64"):
        reader.stream(0, 2)


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
