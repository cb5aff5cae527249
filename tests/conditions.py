"""Random conditions in SQL, each written twice: as users write it and as duckdb has to be told.

They read the columns of `odd_columns`: f (float32), d (float64), n (int32), t and u (text), b
(bool), and id. duckdb takes NaN as the largest value: its tables hold null in their place, and
the values as they are in f_raw and d_raw.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

NAN, INF = float("nan"), float("inf")
F32 = [None, NAN, INF, -INF, -0.0, 0.0, 0.3, float(np.nextafter(np.float32(0.3), np.float32(1))),
       0.25, -1.5, 1e-45, 3.4e38, 2.0, 1.0]  # fmt: skip
F64 = [None, NAN, INF, -INF, -0.0, 0.0, 0.3, 0.1 + 0.2, 2.5, -2.5, 1e300, 1.0, 5e-324, 2.0]
I32 = [None, 0, 1, -1, 2, 7, -7, 2**31 - 1, -(2**31), 100, 3, 5]
I64 = [None, 0, 2**41 + 1, 2**53 + 1, 2**62 + 1, 2**63 - 1, -(2**63), -1, 1, 2**41]
TEXT = [None, "", "a", "abc", "ABC", "É", "é", "東京", "a%b", "a_b", "a\nb", "e\u0301", "🙂",
        "it's", "שלום a", "a\0b", "👩\u200d👧 b"]  # fmt: skip


def odd_columns(rows: int) -> pa.Table:
    """Every odd value, in combinations that differ from row to row."""
    columns = {}
    for seed, (name, values, dtype) in enumerate(
        [("f", F32, pa.float32()), ("d", F64, pa.float64()), ("n", I32, pa.int32()),
         ("id", I64, pa.int64()), ("t", TEXT, pa.string()), ("u", TEXT, pa.string())]
    ):  # fmt: skip
        order = np.random.default_rng(seed).permutation(rows) % len(values)
        columns[name] = pa.array([values[i] for i in order], dtype)
    columns["b"] = pa.array([(True, False, None)[i % 3] for i in range(rows)])
    return pa.table(columns)


@dataclass(frozen=True)
class Sql:
    """One expression twice: as users write it, and as duckdb has to be told to mean the same."""

    kind: str  # int, f32, f64, number (a literal), text, bool
    ours: str
    duck: str


def one(kind: str, text: str) -> Sql:
    return Sql(kind, text, text)


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


def _huge(text: str) -> Sql:
    return Sql("int", text, f"CAST({text} AS HUGEINT)")


def _calculated_on(inner):
    """Integers, in duckdb as HUGEINTs, whose division by 0 is told to give null as ours does."""

    def pair(operator: str):
        return st.tuples(inner, inner).map(
            lambda ab: Sql(
                "int", f"({ab[0].ours} {operator} {ab[1].ours})",
                f"({ab[0].duck} {operator} {of_none(operator, ab[1].duck)})",
            )
        )  # fmt: skip

    def of_none(operator: str, divisor: str) -> str:
        return f"nullif({divisor}, 0)" if operator in ("//", "%") else divisor

    def call(name: str, *more: str):
        return inner.map(
            lambda a: Sql("int", f"{name}({', '.join([a.ours, *more])})",
                          f"{name}({', '.join([a.duck, *more])})")
        )  # fmt: skip

    chosen = st.tuples(inner, inner).map(
        lambda ab: Sql("int", f"CASE WHEN n > 1 THEN {ab[0].ours} ELSE {ab[1].ours} END",
                       f"CASE WHEN n > 1 THEN {ab[0].duck} ELSE {ab[1].duck} END")
    )  # fmt: skip
    calls = call("-") | call("abs") | call("coalesce", "7") | call("greatest", "-3")
    return pair("+") | pair("-") | pair("*") | pair("//") | pair("%") | calls | chosen


sums = st.recursive(
    st.sampled_from(["n", "id", "3", "-4", "100", "2199023255553", "9223372036854775807"]).map(
        _huge
    ),
    _calculated_on,
    max_leaves=6,
)
