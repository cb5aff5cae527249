"""The join of `compare`: types, nulls, repeated and absent ids, sources read by row group."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coyo_tools.pieces.source import OpenPart, find
from coyo_tools.stages.compare import comparable, join, load_scores, values_of
from coyo_tools.words.errors import SchemaError


def part(path: Path, table: pa.Table, rows: int = 2) -> list[OpenPart]:
    pq.write_table(table, path, row_group_size=rows)
    return find(path).open_all()


def test_only_numbers_and_hashes_are_compared(tmp_path: Path) -> None:
    table = pa.table(
        {
            "id": [1],
            "key": ["a"],
            "text": ["t"],
            "image_phash": ["0" * 16],
            "word_count": pa.array([3], pa.int64()),
            "own_score": [0.5],
            "label": ["cat"],
            "flag": [True],
            "error": pa.array([None], pa.string()),
        }
    )
    (opened,) = part(tmp_path / "a.parquet", table)
    assert comparable(opened) == {
        "image_phash": "hash",
        "word_count": "number",
        "own_score": "number",
    }


def test_values_and_where_they_are_known() -> None:
    floats = values_of(pa.chunked_array([[1.5, None, float("nan"), float("inf")]]))
    assert floats.known.tolist() == [True, False, False, True]
    whole = values_of(pa.chunked_array([pa.array([2**53 + 1, None], pa.int64())]))
    assert whole.array[0] == 2**53 + 1
    assert whole.known.tolist() == [True, False]
    hashes = values_of(pa.chunked_array([["9f91e133b1924e4e", None, "short", "FFFFFFFFFFFFFFFF"]]))
    assert hashes.known.tolist() == [True, False, False, True]
    assert hashes.array[[0, 3]].tolist() == [0x9F91E133B1924E4E, 2**64 - 1]
    assert values_of(pa.chunked_array([], pa.string())).array.tolist() == []


def test_parts_may_differ_in_their_types(tmp_path: Path) -> None:
    mine = [pa.array([1, 2], pa.int32()), pa.array([0.5, 7.5]), pa.nulls(2)]
    theirs = [pa.array([0.5, 9.5], pa.float32()), pa.array([[1], [2]]), pa.array(["3", "x"])]
    for side, columns in (("mine", mine), ("theirs", theirs)):
        (tmp_path / side).mkdir()
        for number, column in enumerate(columns):
            ids = pa.array([2 * number, 2 * number + 1], pa.int64())
            table = pa.table({"id": ids, "x": column, "image_phash_now": ids})
            pq.write_table(table, tmp_path / side / f"{number}.parquet")
    found = load_scores(find(tmp_path / "mine").open_all(), ["x"])
    assert found.recomputed["x"].array[:4].tolist() == [1, 2, 0.5, 7.5]
    assert found.recomputed["x"].known.tolist() == [True] * 4 + [False] * 2
    join(found, find(tmp_path / "theirs").open_all(), ["x", "image_phash_now"], lambda _: None)
    assert found.found.all()
    assert found.stored["x"].array[:2].tolist() == [0.5, 9.5]
    assert found.stored["x"].known.tolist() == [True, True, False, False, False, False]
    assert "image_phash_now" not in found.stored  # these are no hashes


def test_repeated_ids_count_once_and_the_first_row_wins(tmp_path: Path) -> None:
    scores = pa.table({"id": [5, 3, None, 5], "word_count": [50, 30, 0, 51]})
    source = pa.table({"id": [9, 5, 5, 3, 5, None], "word_count": [9, 1, 2, 3, 4, 5]})
    joined = load_scores(part(tmp_path / "s.parquet", scores), ["word_count"])
    assert joined.ids.tolist() == [3, 5]
    assert joined.recomputed["word_count"].array.tolist() == [30, 50]
    assert (joined.rows, joined.without_id, joined.duplicate_ids_in_scores) == (4, 1, 1)
    told: list[int] = []
    join(joined, part(tmp_path / "m.parquet", source), ["word_count"], told.append)
    assert joined.stored["word_count"].array.tolist() == [3, 1]
    assert joined.duplicate_ids_in_source == 2
    assert joined.found.all()
    assert told == [2, 2, 2]


def test_parts_may_hold_different_columns_and_types(tmp_path: Path) -> None:
    joined = load_scores(
        part(tmp_path / "s.parquet", pa.table({"id": [1, 2, 3], "mine": [1.0, 2.0, 3.0]})), ["mine"]
    )
    parts = [
        *part(tmp_path / "a.parquet", pa.table({"id": [1], "mine": pa.array([1], pa.int32())})),
        *part(tmp_path / "b.parquet", pa.table({"id": [2], "mine": [2.5]})),
        *part(tmp_path / "c.parquet", pa.table({"id": [3]})),
    ]
    join(joined, parts, ["mine"], lambda _: None)
    assert joined.stored["mine"].array.tolist()[:2] == [1.0, 2.5]
    assert joined.stored["mine"].known.tolist() == [True, True, False]
    assert joined.found.all()


def test_a_source_without_ids_is_named(tmp_path: Path) -> None:
    joined = load_scores(
        part(tmp_path / "s.parquet", pa.table({"id": [1], "word_count": [1]})), ["word_count"]
    )
    with pytest.raises(SchemaError, match=r"m\.parquet: has no column 'id' to join on"):
        join(
            joined,
            part(tmp_path / "m.parquet", pa.table({"word_count": [1]})),
            ["word_count"],
            lambda _: None,
        )


IDS = st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 6), max_size=12)


@given(IDS, IDS, st.integers(1, 5))
@settings(max_examples=150, deadline=None)
def test_the_join_is_a_dictionarys(
    tmp_path_factory: pytest.TempPathFactory, ours: list[int], theirs: list[int], group: int
) -> None:
    folder = tmp_path_factory.mktemp("join")
    scores = pa.table({"id": pa.array(ours, pa.int64()), "v": np.arange(len(ours), dtype=float)})
    source = pa.table({"id": pa.array(theirs, pa.int64()), "v": np.arange(len(theirs)) + 0.5})
    joined = load_scores(part(folder / "s.parquet", scores), ["v"])
    join(joined, part(folder / "m.parquet", source, group), ["v"], lambda _: None)
    first_ours = {i: float(n) for n, i in reversed(list(enumerate(ours)))}
    first_theirs: dict[int, Any] = {i: n + 0.5 for n, i in reversed(list(enumerate(theirs)))}
    assert joined.ids.tolist() == sorted(first_ours)
    assert joined.recomputed["v"].array.tolist() == [first_ours[i] for i in sorted(first_ours)]
    found = dict(zip(joined.ids.tolist(), joined.found.tolist(), strict=True))
    assert found == {i: i in first_theirs for i in first_ours}
    if "v" in joined.stored:
        values = zip(joined.ids.tolist(), joined.stored["v"].array.tolist(), strict=True)
        assert all(v == first_theirs[i] for i, v in values if i in first_theirs)
