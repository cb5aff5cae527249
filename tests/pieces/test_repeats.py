from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coyo_tools.pieces.repeats import Repeats, hashes


def by_dict(values: list[int]) -> dict[int, int]:
    first: dict[int, int] = {}
    return {row: first[v] for row, v in enumerate(values) if first.setdefault(v, row) != row}


@given(
    st.lists(st.lists(st.integers(0, 40), max_size=30), max_size=6), st.sampled_from([1, 7, 1000])
)
def test_as_a_dictionary_finds_them(pieces, rows_a_file):
    values = [v for piece in pieces for v in piece]
    with Repeats(len(values), rows_a_file) as repeats:
        for piece in pieces:
            repeats.add(np.array(piece, np.uint64))
        rows, firsts = repeats.found()
    assert dict(zip(rows.tolist(), firsts.tolist(), strict=True)) == by_dict(values)
    assert rows.tolist() == sorted(rows.tolist())


def test_ids_that_share_leading_bits_are_spread():
    values = (np.arange(10_000, dtype=np.uint64) % 5_000) + np.uint64(1 << 40)
    with Repeats(len(values), 500) as repeats:
        repeats.add(values)
        for file in repeats._files:
            file.flush()
        sizes = [path.stat().st_size for path in repeats._paths]
        rows, firsts = repeats.found()
    assert max(sizes) < 3 * min(sizes)
    assert rows.tolist() == list(range(5_000, 10_000))
    assert firsts.tolist() == list(range(5_000))


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_equal_urls_have_equal_hashes(kind):
    found = hashes(pa.chunked_array([["a", "b"], ["a", None, None]], kind))
    assert found[0] == found[2]
    assert found[0] != found[1]
    assert found[3] == found[4]
    assert found.dtype == np.uint64
