"""Operators and functions of --where, over the terms of `sql_terms`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from coyo_tools.pieces.sql_terms import (
    NUMBERS,
    WORDS,
    Mismatch,
    Term,
    common,
    compare,
    condition,
    integer,
    is_whole,
    null,
)

if TYPE_CHECKING:
    import polars as pl


def arithmetic(operator: str, a: Term, b: Term) -> Term:
    """+ - * / // %. Integers exactly, in 128 bits; float32 stays float32.

    Raises Mismatch, also of integers whose result may need more bits.
    """
    kind = common([a, b])
    if kind not in (*NUMBERS, "null"):
        raise Mismatch(f"{WORDS[kind]} cannot be calculated with")
    if kind == "null":
        return null()
    if operator == "/" and kind == "int":
        kind = "f64"
    if kind == "int":
        result = _integers(operator, a.expr_as("int"), b.expr_as("int"))
        return integer(result, _reach(operator, a.reach, b.reach))
    x, y = a.expr_as(kind), b.expr_as(kind)
    if operator == "//":
        raise Mismatch("// is for integers")
    results = {"+": lambda: x + y, "-": lambda: x - y, "*": lambda: x * y, "/": lambda: x / y,
               "%": lambda: _float_remainder(x, y)}  # fmt: skip
    return Term(kind, results[operator]().fill_nan(None))


def _reach(operator: str, a: int, b: int) -> int:
    """How far from 0 the result may be, of integers that are at most so far from it."""
    return {"+": a + b, "-": a + b, "*": a * b, "//": a, "%": min(a, b)}[operator]


def _integers(operator: str, a: pl.Expr, b: pl.Expr) -> pl.Expr:
    import polars as pl

    a, b = a.cast(pl.Int128), b.cast(pl.Int128)
    if operator in "+-*":
        return {"+": a + b, "-": a - b, "*": a * b}[operator]
    divisor = pl.when(b == 0).then(None).otherwise(b)
    quotient = (a.abs() // divisor.abs()) * (a.sign() * divisor.sign())
    return quotient if operator == "//" else a - quotient * divisor


def _float_remainder(a: pl.Expr, b: pl.Expr) -> pl.Expr:
    """C's fmod: the sign of the dividend."""
    import polars as pl

    rest = a.abs() % b.abs()
    rest = pl.when(b.is_infinite() & a.is_finite()).then(a.abs()).otherwise(rest)
    return pl.when(b == 0).then(None).when(a < 0).then(-rest).otherwise(rest)


def negative(a: Term) -> Term:
    """-a."""
    import polars as pl

    if a.kind == "number":
        return Term("number", value=a.number.copy_negate())
    if a.kind == "null":
        return a
    if a.kind == "int":
        return integer(pl.lit(0, dtype=pl.Int128) - a.expr_as("int"), a.reach)
    _need_number(a)
    return Term(a.kind, -a.expr_as(a.kind))


def absolute(a: Term) -> Term:
    """abs(a)."""
    import polars as pl

    if a.kind == "number":
        return Term("number", value=a.number.copy_abs())
    if a.kind == "null":
        return a
    _need_number(a)
    expr = a.expr_as(a.kind)
    return _of(a.kind, (expr.cast(pl.Int128) if a.kind == "int" else expr).abs(), [a])


def _of(kind: str, expr: pl.Expr, several: Sequence[Term]) -> Term:
    """A term that has the value of one of these; of integers, no further from 0 than they are."""
    if kind != "int":
        return Term(kind, expr)
    return Term(kind, expr, most=max(t.reach for t in several))


def _need_number(*several: Term) -> None:
    for term in several:
        if term.kind not in (*NUMBERS, "number", "null"):
            raise Mismatch(f"{WORDS[term.kind]} where a number should be")


def function(name: str, a: Term) -> Term:
    """sqrt, log (natural), exp, floor or ceil, in float64; NaN as null."""
    _need_number(a)
    if a.kind == "int" and name in ("floor", "ceil"):
        return a
    expr: pl.Expr = getattr(a.expr_as("f64"), name)()
    return Term("f64", expr.fill_nan(None))


def power(a: Term, b: Term) -> Term:
    """a to the b, in float64."""
    _need_number(a, b)
    return Term("f64", (a.expr_as("f64") ** b.expr_as("f64")).fill_nan(None))


def rounded(a: Term, digits: Term) -> Term:
    """round(a, digits), halves away from zero; digits: a literal from 0 to 15."""
    _need_number(a)
    if digits.kind != "number" or not 0 <= digits.number <= 15:
        raise Mismatch("round() takes its digits as a number from 0 to 15")
    if a.kind == "int":
        return a
    return Term("f64", a.expr_as("f64").round(int(digits.number), mode="half_away_from_zero"))


def case(branches: Sequence[tuple[Term, Term]], default: Term) -> Term:
    """CASE WHEN condition THEN value ... ELSE default END."""
    import polars as pl

    kind = common([*[value for _, value in branches], default])
    result = default.expr_as(kind)
    for when, value in reversed(branches):
        result = pl.when(condition(when)).then(value.expr_as(kind)).otherwise(result)
    return _of(kind, result, [*[value for _, value in branches], default])


def coalesce(several: Sequence[Term]) -> Term:
    """The first that is not null (or NaN)."""
    import polars as pl

    kind = common(several)
    return _of(kind, pl.coalesce([t.expr_as(kind) for t in several]), several)


def greatest(several: Sequence[Term]) -> Term:
    """The largest that is not null."""
    import polars as pl

    _need_number(*several)
    kind = common(several)
    return _of(kind, pl.max_horizontal([t.expr_as(kind) for t in several]), several)


def least(several: Sequence[Term]) -> Term:
    """The smallest that is not null."""
    import polars as pl

    _need_number(*several)
    kind = common(several)
    return _of(kind, pl.min_horizontal([t.expr_as(kind) for t in several]), several)


def null_if(a: Term, b: Term) -> Term:
    """Null where a = b, else a."""
    kind = common([a, b]) if a.kind == "number" else a.kind
    return case([(compare("=", a, b), null())], _of(kind, a.expr_as(kind), [a]))


def joined(a: Term, b: Term) -> Term:
    """a || b."""
    return Term("text", a.expr_as("text") + b.expr_as("text"))


def length(a: Term) -> Term:
    """length(a) in characters."""
    import polars as pl

    return Term("int", a.expr_as("text").str.len_chars().cast(pl.Int64))


def letters(name: str, a: Term) -> Term:
    """lower, upper, trim (spaces)."""
    of = a.expr_as("text").str
    if name == "trim":
        return Term("text", of.strip_chars(" "))
    return Term("text", of.to_lowercase() if name == "lower" else of.to_uppercase())


def substring(a: Term, start: Term, count: Term | None) -> Term:
    """substring(a, start, count), characters from 1 on; literals, start at least 1."""
    bounds = [start, *([count] if count is not None else [])]
    if any(t.kind != "number" or not is_whole(t.number) or t.number < 0 for t in bounds):
        raise Mismatch("substring() takes whole numbers")
    if start.number < 1:
        raise Mismatch("substring() counts characters from 1")
    most = None if count is None else int(count.number)
    return Term("text", a.expr_as("text").str.slice(int(start.number) - 1, most))


def cast(a: Term, wanted: str) -> Term:
    """CAST(a AS wanted) between numbers; a fraction is rounded to even, as in DuckDB."""
    import polars as pl

    _need_number(a)
    if wanted in ("DOUBLE", "FLOAT8"):
        return Term("f64", a.expr_as("f64"))
    if wanted in ("REAL", "FLOAT", "FLOAT4"):
        return Term("f32", a.expr_as("f32" if a.kind == "number" else a.kind).cast(pl.Float32))
    if wanted in ("INT", "INTEGER", "BIGINT"):
        if a.kind == "int":
            return a
        whole = a.expr_as("f64").round(0, mode="half_to_even")
        return Term("int", whole.cast(pl.Int64, strict=False))
    raise Mismatch(f"no cast to {wanted}: DOUBLE, FLOAT and BIGINT are known")


def matches(kind: str, a: Term, pattern: Term, *, escape: str = "", flags: str = "") -> Term:
    """LIKE, ILIKE, regexp_matches, contains ...; the pattern is a literal. Raises Mismatch."""
    import polars as pl

    if pattern.kind == "null" or a.kind == "null":
        return Term("bool", pl.lit(None, dtype=pl.Boolean))
    subject = a.expr_as("text").str
    if pattern.kind != "text" or not isinstance(pattern.value, str):
        raise Mismatch("a pattern has to be text in single quotes")
    wanted = pattern.value
    match kind:
        case "contains":
            return Term("bool", subject.contains(wanted, literal=True))
        case "starts_with":
            return Term("bool", subject.starts_with(wanted))
        case "ends_with":
            return Term("bool", subject.ends_with(wanted))
        case "like" | "ilike":
            regex = ("(?is)" if kind == "ilike" else "(?s)") + like_as_regex(wanted, escape)
        case "regexp_full":
            regex = rf"\A(?:{wanted})\z"
        case _:
            regex = _with_flags(wanted, flags)
    check_regex(regex, wanted)
    return Term("bool", subject.contains(regex))


def _with_flags(pattern: str, flags: str) -> str:
    if set(flags) - set("ims"):
        raise Mismatch(f"flags {flags!r} of a regular expression: i, m and s are known")
    return f"(?{flags}){pattern}" if flags else pattern


def like_as_regex(pattern: str, escape: str = "") -> str:
    """A LIKE pattern as a regular expression for the whole text. Raises Mismatch."""
    if len(escape) > 1:
        raise Mismatch("ESCAPE takes one character")
    out, characters = [], iter(pattern)
    for character in characters:
        if escape and character == escape:
            following = next(characters, None)
            if following is None:
                raise Mismatch("the pattern ends with its escape character")
            out.append(re.escape(following))
        else:
            out.append({"%": ".*", "_": "."}.get(character) or re.escape(character))
    return rf"\A{''.join(out)}\z"


def check_regex(regex: str, shown: str) -> None:
    """Raise Mismatch where polars' regular expressions (Rust's) cannot read it."""
    import polars as pl

    try:
        pl.DataFrame({"text": [""]}).select(pl.col("text").str.contains(regex, strict=True))
    except pl.exceptions.ComputeError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        said = next((x for x in lines if x.startswith("error:")), lines[0])
        raise Mismatch(
            f"{shown!r} is no regular expression ({said.removeprefix('error: ')})"
        ) from error
