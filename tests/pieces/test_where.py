"""--where against duckdb, row by row, and what it refuses."""

from __future__ import annotations

import contextlib

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coyo_tools.pieces.where import compile_number, compile_where, names_in
from coyo_tools.words.errors import RuleError
from tests.conditions import conditions, odd_columns, sums
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


@settings(max_examples=300, deadline=None)
@given(number=sums)
def test_integers_are_as_exact_as_duckdbs(duck, number):
    """duckdb refuses what 128 bits cannot hold when it meets it; here it is refused beforehand."""
    try:
        term, _ = compile_number(number.ours, FRAME.schema)
    except RuleError:
        return
    expected = duck.ask(f"SELECT {number.duck} FROM rows ORDER BY row")
    ours = FRAME.select(term.expr.cast(pl.String).alias("r"))["r"].to_list()
    assert ours == [None if value is None else str(value) for (value,) in expected], number


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


def test_integers_that_128_bits_may_not_hold_are_refused():
    narrow = {name: pl.Series([2**31 - 1], dtype=pl.Int32) for name in "abcd"}
    most = (2**31 - 1) ** 4
    assert kept(f"a * b * c * d = {most}", **narrow) == [2**31 - 1]
    for sql in (
        "i * i * i > 3",
        "i * i + i * i + i > 0",
        "-i * i // 1 * i > 3",
        "coalesce(i, 0) * greatest(i, 1) * i = 0",
        "i * 170141183460469231731687 > 1",
    ):
        with pytest.raises(RuleError, match=r"more than 128 bits may be needed \(CAST one side"):
            kept(sql, i=[1])
    assert kept("CAST(i AS DOUBLE) * i * i > 3", i=[1, 2]) == [2]
    assert kept("i * i * i % 7 > 3", i=pl.Series([1, 2, 5], dtype=pl.Int32)) == [5]
    assert kept("u + 1 = 18446744073709551616", u=pl.Series([2**64 - 1], dtype=pl.UInt64)) != []
    assert kept("i * i > 85070591730234615865843651857942052863", i=[-(2**63), 3]) == [-(2**63)]
    assert kept("i < 170141183460469231731687303715884105727.5", i=[3]) == [3]
    assert kept("i < 170141183460469231731687303715884105728", i=[3]) == [3]


def test_long_lists_are_as_exact_as_short_ones():
    many = ", ".join(str(n) for n in range(20))
    low = -(2**63)
    assert kept(f"i IN ({low}, {many})", i=[low, 3, 30]) == [low, 3]
    assert kept(f"i * 4 IN ({2**64}, {many})", i=[2**62, 30]) == [2**62]
    assert kept("i IN (" + ", ".join(f"{n}.5" for n in range(20)) + ")", i=[1, 2]) == []
    assert kept("i IN (" + ", ".join(["NULL"] * 20) + ")", i=[1, 2]) == []


@pytest.mark.parametrize("joint", ["OR", "AND"])
def test_a_list_of_thousands_of_conditions_is_no_deep_one(joint):
    sign = "=" if joint == "OR" else "<>"
    sql = f" {joint} ".join(f"i {sign} {number}" for number in range(3000))
    assert kept(sql, i=[2999, 3000]) == [2999 if joint == "OR" else 3000]
    assert names_in(sql) == ("i",)


@pytest.mark.parametrize(
    "sql",
    ["(" * 300 + "i = 1" + ")" * 300, "NOT " * 300 + "i = 1", " + ".join(["i"] * 2000) + " > 3"],
)  # fmt: skip
def test_what_is_too_deep_is_one_sentence(sql):
    with pytest.raises(RuleError, match="is nested too deeply") as caught:
        kept(sql, i=[1])
    assert len(str(caught.value)) < 500


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
        ("@", "a value is missing in ABS()"),
        ("~ DATE()", "BITWISENOT is not among the functions"),
        ("/* nothing */", "has a syntax error"),
        ("width IN ()", "nothing is listed in width IN ()"),
        ("substring(text) = 'a'", "a value is missing in SUBSTRING(text)"),
        ("width < 1e9999999999", "the exponent is out of range in 1e9999999999"),
        ("width < 1e-99999999999999999999", "the exponent is out of range"),
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
