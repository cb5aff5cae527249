"""--where against duckdb, row by row, and what it refuses."""

from __future__ import annotations

import contextlib

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coyo_tools.pieces.where import compile_where, names_in
from coyo_tools.words.errors import RuleError
from tests.conditions import conditions, odd_columns
from tests.duck import duck_of
from tests.metadata import INF, NAN

ROWS = 70
TABLE = odd_columns(ROWS)
FRAME = pl.from_arrow(TABLE)
assert isinstance(FRAME, pl.DataFrame)


@pytest.fixture(scope="module")
def duck():
    with duck_of(TABLE) as connected:
        yield connected


@settings(max_examples=400, deadline=None)
@given(condition=conditions)
def test_every_row_agrees_with_duckdb(duck, condition):
    ours = FRAME.select(compile_where(condition.ours, FRAME.schema).expr.alias("r"))
    expected = duck.ask(f"SELECT {condition.duck} FROM rows ORDER BY row")
    assert ours["r"].to_list() == [row[0] for row in expected], (
        f"{condition.ours}\n{condition.duck}"
    )


def kept(sql: str, **columns) -> list:
    """The values of the first column that the condition keeps."""
    frame = pl.DataFrame(columns)
    name = frame.columns[0]
    return frame.filter(compile_where(sql, frame.schema).expr)[name].to_list()


def test_a_bound_on_a_float32_column_is_a_float32():
    f = pl.Series([0.3], dtype=pl.Float32)
    assert kept("f = 0.3", f=f) == f.to_list()
    assert kept("f > 0.3", f=f) == []
    assert kept("f * 1 <= 0.3", f=f) == f.to_list()
    assert kept("CAST(f AS DOUBLE) > 0.3", f=f) == f.to_list()  # asked for, it is wider


def test_integers_are_never_compared_through_floats():
    big = [2**53, 2**53 + 1, 2**62 + 1]
    assert kept("i = 9007199254740993", i=big) == [2**53 + 1]
    assert kept("i > 9007199254740992.5", i=big) == [2**53 + 1, 2**62 + 1]
    assert kept("i * 4 > 9223372036854775807", i=big) == [2**62 + 1]
    assert kept("i < 1e300 AND i > -1e300", i=big) == big
    assert kept("n < 0.5", n=[0, 1]) == [0]
    assert kept("n >= -0.5", n=[-1, 0]) == [0]


def test_nan_is_not_true_and_not_false():
    values = [NAN, 1.0, None]
    assert kept("NOT (d > 5)", d=values) == [1.0]
    assert kept("d = d", d=values) == [1.0]
    assert kept("d - d = 0", d=[INF, 1.0]) == [1.0]
    assert len(kept("d IS NULL", d=values)) == 2
    assert len(kept("isnan(d)", d=values)) == 1


def test_names_may_be_written_in_any_case_and_quoted():
    assert kept('"Width" > 1 AND width < 9', Width=[0, 5]) == [5]
    assert names_in("a > 1 AND lower(b) = 'c' OR a < 0") == ("a", "b")


SCHEMA = {"num_faces": pl.Int32(), "width": pl.Int32(), "text": pl.String(),
          "labels": pl.List(pl.Int32())}  # fmt: skip


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("", "is empty"),
        ("num_faces =", "syntax error at character 11, near '='"),
        ("num_faces = 0 AND (width > 1", "syntax error"),
        ("num_faces = 0\n AND AND", "syntax error at line 2"),
        ("text = 'abc", "a quote or comment is left open"),
        ("num_face = 0", "no column 'num_face' at character 1; did you mean 'num_faces'?"),
        ("width > 3 AND nun_faces < 2", "no column 'nun_faces' at character 15"),
        ('text = "abc"', "text stands in single quotes"),
        ("count(*) > 1", "one row at a time"),
        ("sum(width) > 1", "one row at a time"),
        ("row_number() OVER () > 1", "one row at a time"),
        ("width > (SELECT 1)", "is a query of its own"),
        ("width IN (SELECT 1)", "is"),
        ("EXISTS (SELECT 1)", "is a query of its own"),
        ("width > 1; DROP TABLE t", "more than one condition"),
        ("width > 1 LIMIT 5", "more than one condition"),
        ("width > 1 GROUP BY text", "more than one condition"),
        ("width > 1 UNION SELECT 2", ""),
        ("width", "is not a condition"),
        ("width + 1", "is not a condition"),
        ("text > 1", "do not go together"),
        ("text + 1 > 2", "text"),
        ("length(width) > 1", "an integer where text should be"),
        ("width LIKE '6%'", "an integer where text should be"),
        ("text ~ '('", "is no regular expression (unclosed group)"),
        ("text LIKE width", "a pattern has to be text"),
        ("random() > 0.5", "is not among the functions"),
        ("labels = 1", "do not go together"),
        ("t.width > 1", "is not among the functions"),
        ("width > 1 AND text", "text where a condition should be"),
    ],
)
def test_what_is_no_condition_is_one_sentence(sql, said):
    with pytest.raises(RuleError) as caught:
        compile_where(sql, SCHEMA)
    assert said in str(caught.value)
    assert str(caught.value).startswith("--where ")


@given(sql=st.text(max_size=40))
@settings(max_examples=150, deadline=None)
def test_no_text_makes_it_raise_anything_else(sql):
    with contextlib.suppress(RuleError):
        compile_where(sql, SCHEMA)
