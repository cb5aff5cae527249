"""judging: every row is judged once, however polars reads it."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from coyo_tools.pieces.bites import bites, serve
from coyo_tools.pieces.funnel import Counts
from coyo_tools.pieces.judging import Judge, Stopped
from coyo_tools.pieces.selections import Tests as Conditions
from coyo_tools.pieces.source import open_part, part_at

ROWS = 3000
COLUMNS = {
    "constant": pa.array([1] * ROWS),
    "few": pa.array([1, 2, 3] * (ROWS // 3)),
    "different": pa.array(np.arange(ROWS)),
    "nulls": pa.array([None] * ROWS, pa.int64()),
    "gaps": pa.array([None, 2, 3] * (ROWS // 3)),
    "words": pa.array(["a", "bb", None] * (ROWS // 3)),
}


@pytest.mark.parametrize("row_group_size", [1, 700, ROWS])
@pytest.mark.parametrize("dictionary", [True, False])
@pytest.mark.parametrize("looks_at", [*COLUMNS, None])
def test_each_row_is_judged_once(tmp_path, row_group_size, dictionary, looks_at):
    rows = 40 if row_group_size == 1 else ROWS
    table = pa.table({"id": np.arange(ROWS), **COLUMNS}).slice(0, rows)
    pq.write_table(
        table, tmp_path / "p.parquet", row_group_size=row_group_size, use_dictionary=dictionary
    )
    part = open_part(part_at(str(tmp_path / "p.parquet")))
    tests = [] if looks_at is None else [_is_not(looks_at, 2)]
    heard = []
    judge = Judge(tests, on_rows=heard.append, catch_ids=True)
    columns = ["id"] if looks_at is None else [looks_at, "id"]
    with serve(next(bites(part))) as served:
        frame = judge.passing(served.scan_judged([*COLUMNS, "id"], columns), columns)
        found = frame.select("id").collect(engine="streaming")
    wanted = [
        id for id, value in enumerate(table[looks_at].to_pylist() if looks_at else [0] * rows)
        if value not in (None, 2, "bb")
    ]  # fmt: skip
    assert found["id"].to_list() == wanted
    assert sorted(pl.concat(judge.ids).to_list()) == wanted
    assert judge.counts.rows == sum(heard) == rows
    assert judge.counts.kept == len(wanted)
    if looks_at:
        nulls = table[looks_at].null_count
        assert judge.counts == Counts(rows, (len(wanted),), (len(wanted),), (nulls,))


def _is_not(name: str, value: int) -> Conditions:
    column = pl.col(name)
    passes = column.str.len_chars() != value if name == "words" else column != value
    return Conditions(passes, column.is_null())


def test_a_condition_on_no_column_is_asked_of_every_row():
    judge = Judge([Conditions(pl.lit(value=True), pl.lit(value=False))])
    assert judge.ask(pl.DataFrame({"x": [1, 2, 3]})).to_list() == [True] * 3
    assert judge.counts == Counts(3, (3,), (3,), (0,))


def test_no_rows_at_all():
    judge = Judge([Conditions(pl.col("x") > 1, pl.col("x").is_null())])
    assert judge.ask(pl.DataFrame({"x": []}, schema={"x": pl.Int64})).to_list() == []
    assert judge.counts == Counts.none(1)


def test_the_error_is_remembered_as_it_was_raised(tmp_path):
    pq.write_table(pa.table({"id": np.arange(10)}), tmp_path / "p.parquet")
    part = open_part(part_at(str(tmp_path / "p.parquet")))
    judge = Judge([], stopped=lambda: True)
    with serve(next(bites(part))) as served, pytest.raises(Stopped):
        judge.passing(served.scan_judged(["id"], ["id"]), ["id"]).collect()
    assert isinstance(judge.failure, Stopped)
    assert str(judge.failure) == ""  # polars raises one of its own making, with its plan in it
