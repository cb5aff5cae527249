"""Which hashes are placeholders', by the rows that show them."""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
import pytest

from coyo_tools.pieces.placeholders import Evidence, is_marked, may_be, now_of

FAR = ["00000000ffffffff", "ffffffff00000000", "0000ffff0000ffff", "00ff00ff00ff00ff"]
NEAR = ["00000000ffffffff", "00000001fffffffe", "00000003fffffffc"]


def found(rows) -> set[int]:
    evidence = Evidence()
    for now, published, url in rows:
        evidence.add(now, published, url)
    return set(evidence.found().tolist())


def test_three_urls_whose_pictures_were_different_ones():
    rows = [(7, published, f"u{n}") for n, published in enumerate(FAR[:3])]
    assert found(rows) == {7}
    assert found(rows[:2]) == set()
    for order in itertools.permutations(rows):
        assert found(order) == {7}


def test_one_picture_replaced_at_several_addresses_is_none():
    assert found((7, published, f"u{n}") for n, published in enumerate(NEAR * 3)) == set()


def test_one_url_that_showed_several_pictures_is_none():
    assert found((7, published, "webcam") for published in FAR) == set()


def test_hashes_are_judged_by_themselves():
    assert found((n % 2, published, f"u{n}") for n, published in enumerate(FAR)) == set()


@pytest.fixture
def table() -> pa.Table:
    kinds = ["success", "success", "success", "success", "failed_to_resize"]
    return pa.table({
        "status": kinds,
        "image_phash_now": ["000000000000000a", "000000000000000a", "000000000000000a", None, None],
        "drift": ["same", "replaced", None, None, None],
    })  # fmt: skip


def test_rows_that_still_show_the_published_picture_are_never_marked(table):
    assert may_be(table).tolist() == [False, True, False, False, False]
    marked = is_marked(table, np.array([10], np.uint64))
    assert marked.tolist() == [False, True, True, False, False]
    assert not is_marked(table, np.array([11], np.uint64)).any()
    assert now_of(table).tolist() == [10, 10, 10, 0, 0]
    assert not is_marked(table, np.array([0], np.uint64)).any()
