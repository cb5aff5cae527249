"""Merging sorted runs: every value once, equal ones together, a bounded number at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coyo_tools.machinery.sorted_runs import Spill, merged

IDS = st.lists(st.integers(-(2**63), 2**63 - 1), max_size=60)
NEAR = st.lists(st.integers(0, 9), max_size=60)


@settings(max_examples=300)
@given(st.lists(IDS | NEAR, max_size=6), st.integers(1, 20))
def test_ranges_share_no_value_and_lose_none(lists: list[list[int]], chunk_rows: int) -> None:
    runs = [np.sort(np.array(ids, np.int64)) for ids in lists]
    found: list[list[int]] = [[] for _ in runs]
    last = None
    for pieces in merged(runs, chunk_rows):
        values = np.concatenate(pieces)
        assert len(values)
        assert last is None or values.min() > last
        last = values.max()
        for each, piece in zip(found, pieces, strict=True):
            each += piece.tolist()
    assert found == [run.tolist() for run in runs]


@pytest.mark.parametrize("chunk_rows", [10, 1000, 1 << 20])
def test_runs_in_files(tmp_path: Path, chunk_rows: int) -> None:
    sizes = [3000, 0, 700, 1]
    ids = [np.arange(size, dtype=np.int64) * (n + 1) for n, size in enumerate(sizes)]
    paths = [tmp_path / f"{n}.npy" for n in range(len(ids))]
    for path, run in zip(paths, ids, strict=True):
        np.save(path, run)
    ranges = list(merged(paths, chunk_rows))
    assert max(sum(map(len, pieces)) for pieces in ranges) <= max(chunk_rows, len(paths))
    for number, run in enumerate(ids):
        assert np.concatenate([pieces[number] for pieces in ranges]).tolist() == run.tolist()


def test_what_comes_in_pieces_makes_sorted_runs_and_all_but_the_last_are_written(tmp_path):
    spill = Spill(tmp_path, rows=5)
    for start in (9, 4, -3):
        spill.add(np.arange(start + 3, start, -1))
    written, last = spill.runs()
    assert np.load(written).tolist() == [5, 6, 7, 10, 11, 12]
    assert last.tolist() == [-2, -1, 0]
    assert Spill(tmp_path).runs() == []


@pytest.mark.parametrize("dtype", [np.int64, np.int32])
def test_pieces_may_be_empty_or_narrower(tmp_path, dtype):
    spill = Spill(tmp_path)
    for piece in ([], [3, -1], []):
        spill.add(np.array(piece, dtype))
    (run,) = spill.runs()
    assert run.dtype == np.int64
    assert run.tolist() == [-1, 3]
