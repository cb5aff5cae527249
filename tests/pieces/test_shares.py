"""shares: every column once, and no run of them much heavier than another."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from coyo_tools.pieces.shares import in_shares


@given(
    weights=st.dictionaries(st.text(max_size=3), st.integers(0, 10**9), max_size=40),
    threads=st.integers(1, 64),
)
def test_every_name_comes_once(weights, threads):
    assert sorted(in_shares(weights, threads)) == sorted(weights)


def test_no_columns():
    assert in_shares({}, 2) == []


def test_what_is_heavy_is_shared_out():
    weights = {
        "id": 4,
        "url": 20,
        "text": 17,
        "width": 1,
        "height": 1,
        "image_phash": 10,
        "faces": 0,
    }
    assert _loads(weights, 2, in_shares(weights, 2)) == [26, 27]
    assert _loads(weights, 2, list(weights)) == [42, 11]


def test_each_of_as_many_threads_has_one():
    weights = dict(zip("abcd", [4, 3, 2, 1], strict=True))
    assert in_shares(weights, 4) == in_shares(weights, 9) == list("abcd")


def _loads(weights: dict[str, int], threads: int, names: list[str]) -> list[int]:
    length = -(-len(names) // threads)
    return [
        sum(weights[name] for name in names[start : start + length])
        for start in range(0, len(names), length)
    ]
