"""--where against duckdb, row by row, and what it refuses."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coyo_tools.pieces.where import compile_where, names_in
from coyo_tools.words.errors import RuleError
from tests.metadata import INF, NAN

F32 = [None, NAN, INF, -INF, -0.0, 0.0, 0.3, float(np.nextafter(np.float32(0.3), np.float32(1))),
       0.25, -1.5, 1e-45, 3.4e38, 2.0, 1.0]  # fmt: skip
F64 = [None, NAN, INF, -INF, -0.0, 0.0, 0.3, 0.1 + 0.2, 2.5, -2.5, 1e300, 1.0, 5e-324, 2.0]
I32 = [None, 0, 1, -1, 2, 7, -7, 2**31 - 1, -(2**31), 100, 3, 5]
I64 = [None, 0, 2**41 + 1, 2**53 + 1, 2**62 + 1, 2**63 - 1, -(2**63), -1, 1, 2**41]
TEXT = [
    None,
    "",
    "a",
    "abc",
    "ABC",
    "É",
    "é",
    "東京",
    "a%b",
    "a_b",
    "a\nb",
    "e\u0301",
    "🙂",
    "it's",
]
ROWS = 70


def nasty_table() -> pa.Table:
    """Every nasty value, in combinations that differ from row to row."""
    pick = [np.random.default_rng(seed) for seed in range(6)]
    columns = {}
    for draw, (name, values, dtype) in zip(
        pick,
        [("f", F32, pa.float32()), ("d", F64, pa.float64()), ("n", I32, pa.int32()),
         ("id", I64, pa.int64()), ("t", TEXT, pa.string()), ("u", TEXT, pa.string())],
        strict=True,
    ):  # fmt: skip
        chosen = [values[i] for i in draw.permutation(ROWS) % len(values)]
        columns[name] = pa.array(chosen, dtype)
    columns["b"] = pa.array([(True, False, None)[i % 3] for i in range(ROWS)])
    return pa.table(columns)


TABLE = nasty_table()
FRAME = pl.from_arrow(TABLE)
assert isinstance(FRAME, pl.DataFrame)


@dataclass(frozen=True)
class Sql:
    """One expression twice: as users write it, and as duckdb has to be told to mean the same."""

    kind: str  # int, f32, f64, number (a literal), text, bool
    ours: str
    duck: str


def one(kind: str, text: str) -> Sql:
    return Sql(kind, text, text)


# duckdb takes NaN as the largest value: its table has null where ours has NaN.
COLUMNS = {
    "f32": [one("f32", "f")],
    "f64": [one("f64", "d")],
    "int": [one("int", "n"), one("int", "id")],
    "text": [one("text", "t"), one("text", "u")],
}
whole = st.sampled_from(["0", "1", "-1", "2", "7", "100", "2199023255553", "9223372036854775807",
                         "-9223372036854775808", "99999999999999999999", "3.0"])  # fmt: skip
fraction = st.sampled_from(["0.3", "0.5", "-0.5", "2.5", "0.25", "1e-3", "-1.5", "0.30000001"])
literal = (whole | fraction).map(lambda text: one("number", text))
quoted = st.sampled_from(["", "a", "abc", "é", "東京", "it''s", "B", "%", "a\nb"])
text_literal = quoted.map(lambda text: one("text", f"'{text}'"))


def columns(*kinds: str):
    return st.sampled_from([column for kind in kinds for column in COLUMNS[kind]])


def not_nan(duck: str) -> str:
    return f"(CASE WHEN isnan({duck}) THEN NULL ELSE {duck} END)"


@st.composite
def calculated(draw) -> Sql:
    """Arithmetic; int32 columns and small numbers only, so that duckdb does not overflow."""
    kind = draw(st.sampled_from(["int", "f32", "f64"]))
    a = draw(columns(kind)) if kind != "int" else one("int", "n")
    operator = draw(st.sampled_from(["+", "-", "*", "/"] + (["%", "//"] if kind == "int" else [])))
    b = draw(st.sampled_from(["2", "3", "-4"] if kind == "int" else ["2", "0.5", "-1.5", "0"]))
    ours = f"({a.ours} {operator} {b})"
    if kind == "int":
        duck = f"(CAST({a.duck} AS BIGINT) {operator} CAST({b} AS BIGINT))"
        return Sql("f64" if operator == "/" else "int", ours, duck)
    dtype = {"f32": "FLOAT", "f64": "DOUBLE"}[kind]
    return Sql(kind, ours, not_nan(f"({a.duck} {operator} CAST({b} AS {dtype}))"))


@st.composite
def functional(draw) -> Sql:
    a = draw(columns("f32", "f64"))
    n = one("int", "n")
    absolute = Sql(a.kind, f"abs({a.ours})", f"abs({a.duck})")
    cast = Sql("f64", f"CAST({a.ours} AS DOUBLE)", f"CAST({a.duck} AS DOUBLE)")
    length = one("int", draw(st.sampled_from(["length(t)", "length(u)", "len(t || u)"])))
    default = Sql(a.kind, f"coalesce({a.ours}, 0)", f"coalesce({a.duck}, 0)")
    case = one("int", "CASE WHEN n > 1 THEN 5 WHEN n IS NULL THEN 6 ELSE n END")
    simple = one("int", "CASE n WHEN 1 THEN 2 WHEN 7 THEN 3 END")
    nullif = one("int", "nullif(n, 1)")
    pair = one("int", draw(st.sampled_from(["greatest(n, 3)", "least(n, 3, 1)", "-n + 0"])))
    pair = Sql("int", pair.ours, pair.duck.replace("-n", "-CAST(n AS BIGINT)"))
    sizes = Sql("int", "abs(n)", "abs(CAST(n AS BIGINT))")
    root = Sql("f64", f"sqrt({a.ours})", f"(CASE WHEN {a.duck} < 0 THEN NULL ELSE "
               f"{not_nan(f'sqrt(CAST({a.duck} AS DOUBLE))')} END)")  # fmt: skip
    floor = Sql("f64", f"floor({a.ours})", f"floor(CAST({a.duck} AS DOUBLE))")
    return draw(st.sampled_from([absolute, cast, length, default, case, simple, nullif, pair,
                                 sizes, root, floor, n]))  # fmt: skip


numeric = columns("int", "f32", "f64") | calculated() | functional()


def side_by_side(a: Sql, b: Sql) -> tuple[str, str]:
    """Both for duckdb, in the type in which they are to be compared."""
    kinds = {a.kind, b.kind}
    if kinds in ({"int"}, {"int", "number"}, {"number"}):
        # Exactly: duckdb's HUGEINT and DECIMAL do that, its DOUBLE would not.
        return tuple(exact(side) for side in (a, b))  # type: ignore[return-value]
    wanted = "FLOAT" if kinds <= {"f32", "number"} else "DOUBLE"
    return f"CAST({a.duck} AS {wanted})", f"CAST({b.duck} AS {wanted})"


def exact(side: Sql) -> str:
    """An integer or a literal as a decimal of 38 digits, 10 of them after the point."""
    return f"CAST({side.duck} AS DECIMAL(38, 10))"


@st.composite
def comparison(draw) -> Sql:
    a = draw(numeric)
    b = draw(literal | numeric)
    if draw(st.booleans()):
        a, b = b, a
    operator = draw(st.sampled_from(["=", "<>", "<", "<=", ">", ">=", "!="]))
    left, right = side_by_side(a, b)
    return Sql("bool", f"{a.ours} {operator} {b.ours}", f"({left} {operator} {right})")


@st.composite
def textual(draw) -> Sql:
    a = draw(columns("text"))
    b = draw(text_literal | columns("text"))
    operator = draw(st.sampled_from(["=", "<>", "<", ">="]))
    pattern = draw(
        st.sampled_from(["a%", "%b", "_", "__", "%", "", "a!%b", "%\u0301", "A_C", "東_"])
    )
    regex = draw(st.sampled_from(["^a", "b$", "[a-z]+", "東", "^$", "a.b"]))
    part = draw(st.sampled_from(["a", "京", "b", ""]))
    return draw(
        st.sampled_from(
            [
                one("bool", f"{a.ours} {operator} {b.ours}"),
                one("bool", f"{a.ours} LIKE '{pattern}'"),
                one("bool", f"{a.ours} NOT LIKE '{pattern}' ESCAPE '!'"),
                one("bool", f"{a.ours} ILIKE '{pattern}'"),
                one("bool", f"regexp_matches({a.ours}, '{regex}')"),
                one("bool", f"contains({a.ours}, '{part}')"),
                one("bool", f"starts_with({a.ours}, '{part}')"),
                one("bool", f"{a.ours} IN ('a', 'é', '東京')"),
                one("bool", f"lower({a.ours}) = 'abc'"),
                one("bool", f"{a.ours} || 'x' = 'ax'"),
                one("bool", f"substring({a.ours}, 1, 2) = 'ab'"),
            ]
        )
    )


@st.composite
def others(draw) -> Sql:
    a = draw(numeric)
    values = draw(st.lists(literal, min_size=1, max_size=3))
    low, high = draw(literal), draw(literal)
    listed = " OR ".join("({} = {})".format(*side_by_side(a, v)) for v in values)
    numbers = ", ".join(v.ours for v in values)
    many = "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 100"
    low_a, low_b = side_by_side(a, low)
    high_a, high_b = side_by_side(a, high)
    between = f"(({low_a} >= {low_b}) AND ({high_a} <= {high_b}))"
    column = draw(columns("int", "f32", "f64"))
    raw = {"f": "f_raw", "d": "d_raw"}
    nan = draw(st.sampled_from(["f", "d"]))
    return draw(
        st.sampled_from(
            [
                Sql("bool", f"{a.ours} IN ({numbers})", f"({listed})"),
                Sql("bool", f"{a.ours} NOT IN ({numbers})", f"(NOT ({listed}))"),
                Sql("bool", f"{a.ours} IN ({numbers}, NULL)", f"(({listed}) OR NULL)"),
                one("bool", f"n IN ({many})"),
                one("bool", f"id NOT IN ({many}, NULL)"),
                Sql("bool", f"{a.ours} BETWEEN {low.ours} AND {high.ours}", between),
                Sql("bool", f"{a.ours} NOT BETWEEN {low.ours} AND {high.ours}", f"(NOT {between})"),
                Sql("bool", f"{a.ours} IS NULL", f"({a.duck} IS NULL)"),
                one("bool", f"{column.ours} IS NOT NULL"),
                Sql("bool", f"isnan({nan})", f"isnan({raw[nan]})"),
                one("bool", "n IS DISTINCT FROM 1"),
                one("bool", "n IS NOT DISTINCT FROM NULL"),
                one("bool", draw(st.sampled_from(["b", "b IS TRUE", "b IS NOT FALSE", "TRUE"]))),
                one("bool", "NULL"),
            ]
        )
    )


def combined(inner):
    def pair(joint: str):
        return st.tuples(inner, inner).map(
            lambda ab: Sql(
                "bool",
                f"({ab[0].ours}) {joint} ({ab[1].ours})",
                f"(({ab[0].duck}) {joint} ({ab[1].duck}))",
            )
        )

    def inverted(a: Sql) -> Sql:
        return Sql("bool", f"NOT ({a.ours})", f"(NOT ({a.duck}))")

    return pair("AND") | pair("OR") | inner.map(inverted)


conditions = st.recursive(comparison() | textual() | others(), combined, max_leaves=4)


@pytest.fixture(scope="module")
def duck():
    without_nan = {
        name: pa.array([None if v is None or math.isnan(v) else v for v in TABLE[name].to_pylist()],
                       TABLE[name].type)
        for name in ("f", "d")
    }  # fmt: skip
    guarded = TABLE.append_column("f_raw", TABLE["f"]).append_column("d_raw", TABLE["d"])
    for name, values in without_nan.items():
        guarded = guarded.set_column(guarded.column_names.index(name), name, values)
    connection = duckdb.connect()
    connection.register("source", guarded.append_column("row", pa.array(range(ROWS))))
    connection.execute("CREATE TABLE rows AS SELECT * FROM source")
    yield connection
    connection.close()


@settings(max_examples=400, deadline=None)
@given(condition=conditions)
def test_every_row_agrees_with_duckdb(duck, condition):
    ours = FRAME.select(compile_where(condition.ours, FRAME.schema).expr.alias("r"))
    expected = duck.execute(f"SELECT {condition.duck} FROM rows ORDER BY row").fetchall()
    got = ours["r"].to_list()
    got = got * ROWS if len(got) == 1 else got  # a condition on no column
    assert got == [row[0] for row in expected], f"{condition.ours}\n{condition.duck}"


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
