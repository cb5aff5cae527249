"""Row groups that statistics rule out: never one in which a row would have been kept."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coyo_tools.pieces import funnel, source
from coyo_tools.pieces.bites import bites, serve
from coyo_tools.pieces.prune import ruled_out
from coyo_tools.pieces.rules import rules_of
from coyo_tools.pieces.sampling import amount_of
from coyo_tools.pieces.selections import Cut, Top

NAN, INF = math.nan, math.inf


def part_of(path, groups, **options):
    """A part with a row group for each table."""
    with pq.ParquetWriter(path / "p.parquet", groups[0].schema, **options) as writer:
        for group in groups:
            writer.write_table(group)
    return source.open_part(source.part_at(str(path / "p.parquet")))


def scores(*groups, name="watermark_score", dtype=None):
    return [pa.table({name: pa.array(values, dtype or pa.float32())}) for values in groups]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"min_watermark": 0.3}, {0: 0}),
        ({"min_watermark": 0.30000001}, {0: 0}),  # one float32 with 0.3
        ({"min_watermark": 0.3000001}, {0: 0, 1: 0}),
        ({"max_watermark": 0.1}, {1: 0, 2: 0}),
        ({"max_watermark": 0}, {1: 0, 2: 0}),  # -0.0 is 0
        ({"where": "watermark_score > 0.3"}, {0: 0, 1: 0}),
        ({"where": "0.3 > watermark_score"}, {1: 0, 2: 0}),
        ({"where": "WATERMARK_SCORE = 0.5 and (watermark_score < 2)"}, {0: 0, 1: 0}),
        ({"where": "watermark_score between 0.2 and 0.25"}, {0: 0, 1: 0, 2: 0}),
        ({"where": "watermark_score <= -1"}, {0: 0, 1: 0, 2: 0}),
        ({"where": "watermark_score > 0.3 or watermark_score < 9"}, {}),
        ({"where": "not watermark_score > 9"}, {}),
        ({"where": "watermark_score <> 5"}, {}),
        ({"where": "watermark_score is null"}, {}),
        ({"where": "isnan(watermark_score)"}, {}),
        ({"where": "watermark_score + 1 > 9"}, {}),
        ({"sample": "50%"}, {}),
    ],
)
def test_bounds_in_the_columns_own_type(tmp_path, rule, expected):
    groups = scores([-0.0, 0.1, NAN], [0.3], [0.5, None, INF], [None, None])
    table = [g.append_column("id", pa.array(range(len(g)), pa.int64())) for g in groups]
    assert ruled_out(part_of(tmp_path, table), rules_of([rule])) == expected


def test_nothing_is_ruled_out_where_the_footer_does_not_say(tmp_path):
    rules = rules_of([{"min_watermark": 5}])
    without = part_of(tmp_path, scores([0.1], [0.2]), write_statistics=False)
    assert ruled_out(without, rules) == {}
    assert ruled_out(part_of(tmp_path, scores([NAN], [NAN, 0.1])), rules) == {1: 0}
    halves = part_of(tmp_path, scores([np.float16(0.1)], dtype=pa.float16()))
    assert ruled_out(halves, rules) == {}


def test_the_first_rule_that_rules_out_is_named(tmp_path):
    part = part_of(tmp_path, scores([0.1], [0.5], [0.9]))
    rules = rules_of([{"text_matches": "x"}, {"max_watermark": 0.6}, {"min_watermark": 0.6}])
    assert ruled_out(part, rules) == {0: 2, 1: 2, 2: 1}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"min_side": 300}, {0: 0, 1: 0}),
        ({"max_side": 300}, {1: 0, 2: 0}),
        ({"max_aspect_ratio": 1.0}, {}),
        ({"where": "width = 200.5"}, {1: 0, 2: 0}),
        ({"where": "width < 200"}, {0: 0, 1: 0, 2: 0}),
        ({"where": "height >= 99999999999999999999999999999999999999999"}, {0: 0, 1: 0, 2: 0}),
    ],
)
@pytest.mark.parametrize("dtype", [pa.int32(), pa.int64(), pa.uint16()])
def test_sides_of_any_width_of_integers(tmp_path, rule, expected, dtype):
    sizes = [([200, 250], [200, 200]), ([400, 500], [200, 250]), ([400, 500], [300, 350])]
    groups = [
        pa.table({"width": pa.array(w, dtype), "height": pa.array(h, dtype)}) for w, h in sizes
    ]
    assert ruled_out(part_of(tmp_path, groups), rules_of([rule])) == expected


def test_copies_in_other_types(tmp_path):
    wide = part_of(tmp_path, scores([0.3], [0.31], dtype=pa.float64()))
    # Read as float32, in which the bound is the first value.
    assert ruled_out(wide, rules_of([{"min_watermark": 0.300000001}])) == {}
    assert ruled_out(wide, rules_of([{"min_watermark": 0.305}])) == {0: 0}
    floats = part_of(tmp_path, scores([3.0], name="num_faces", dtype=pa.float64()))
    assert ruled_out(floats, rules_of([{"max_faces": 1}])) == {}
    too_wide = part_of(tmp_path, scores([3, 2**40], [3, 4], name="num_faces", dtype=pa.int64()))
    assert ruled_out(too_wide, rules_of([{"max_faces": 1}])) == {1: 0}  # the other has its error
    odd = part_of(tmp_path, scores([2**63 + 1], name="odd", dtype=pa.uint64()))
    assert ruled_out(odd, rules_of([{"where": "odd < 5"}])) == {0: 0}
    assert ruled_out(odd, rules_of([{"where": "odd > 9223372036854775808"}])) == {}


def test_where_a_top_cuts(tmp_path):
    part = part_of(tmp_path, scores([0.1, 0.2], [0.2, 0.3], [0.4]))

    def top(cut):
        return (Top(amount_of("30%", "--top"), "watermark_score", cut=cut),)

    assert ruled_out(part, top(None)) == {}
    assert ruled_out(part, top(Cut(2))) == {}
    kept = float(np.float32(0.3))
    assert ruled_out(part, top(Cut(2, kept))) == {0: 0}
    assert ruled_out(part, top(Cut(2, kept, hash=7))) == {0: 0}
    assert ruled_out(part, top(Cut(2, INF))) == {0: 0, 1: 0, 2: 0}
    each = Top(
        amount_of("30%", "--top"), "watermark_score", "part", cuts={"p.parquet": Cut(1, 0.35)}
    )
    assert ruled_out(part, (each,)) == {0: 0, 1: 0}


class Wrong:
    """A part whose statistics are as a bad writer leaves them."""

    def __init__(self, part, least, greatest):
        self._part, self._ends = part, (least, greatest)

    def __getattr__(self, name):
        return getattr(self._part, name)

    @property
    def metadata(self):
        ends = self._ends

        class Statistics:
            has_min_max, has_null_count, null_count = True, False, None
            min, max = ends

        class Chunk:
            path_in_schema, statistics = "watermark_score", Statistics()

        class Group:
            num_rows, num_columns = 1, 1

            def column(self, _):
                return Chunk()

        class Metadata:
            schema, num_columns = self._part.metadata.schema, 1

            def row_group(self, _):
                return Group()

        return Metadata()


@pytest.mark.parametrize("ends", [(NAN, 0.1), (0.1, NAN), (NAN, NAN), (0.2, 0.1), (b"a", b"b")])
def test_what_cannot_be_true_is_not_believed(tmp_path, ends):
    part = part_of(tmp_path, scores([0.1]))
    assert ruled_out(Wrong(part, *ends), rules_of([{"min_watermark": 5}])) == {}
    assert ruled_out(Wrong(part, 0.1, 0.2), rules_of([{"min_watermark": 5}])) == {0: 0}


values = st.one_of(
    st.none(), st.sampled_from([NAN, INF, -INF, 0.0, -0.0, 0.3]), st.floats(-1, 1, width=32)
)
numbers = st.one_of(st.none(), st.integers(-5, 5), st.integers(-(2**31), 2**31 - 1))
bounds = st.one_of(st.sampled_from([0.3, 0.0, 0, -1, 1, 2.5]), st.floats(-1, 1), st.integers(-6, 6))
rule = st.one_of(
    st.tuples(st.sampled_from(["min_watermark", "max_watermark", "min_side", "max_side"]), bounds),
    st.tuples(
        st.just("where"),
        st.builds(
            "{} {} {}".format,
            st.sampled_from(["width", "watermark_score", "height"]),
            st.sampled_from(["<", "<=", ">", ">=", "=", "<>"]),
            bounds.map(lambda n: format(n, "f")),
        ),
    ),
)


@settings(max_examples=150, deadline=None)
@given(
    groups=st.lists(
        st.lists(st.tuples(values, numbers, numbers), min_size=1, max_size=4),
        min_size=1,
        max_size=4,
    ),
    given_rules=st.lists(rule, min_size=1, max_size=3),
)
def test_no_row_is_lost(tmp_path_factory, groups, given_rules):
    tables = [
        pa.table(
            {
                "watermark_score": pa.array([row[0] for row in rows], pa.float32()),
                "width": pa.array([row[1] for row in rows], pa.int32()),
                "height": pa.array([row[2] for row in rows], pa.int32()),
            }
        )
        for rows in groups
    ]
    part = part_of(tmp_path_factory.mktemp("p"), tables)
    rules = rules_of([{name: value} for name, value in given_rules])
    found = ruled_out(part, rules)
    for number, bite in enumerate(bites(part, 1)):
        with serve(bite) as served:
            rows = served.scan(["watermark_score", "width", "height"]).collect()
        tests, _ = funnel.tests_of(rules, part)
        if number in found:
            assert rows.filter(tests[found[number]].passes).height == 0
