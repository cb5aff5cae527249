"""What `where` builds conditions of: polars expressions that know their SQL kind.

Kinds: `int` (any width), `f32`, `f64`, `text`, `bool`, `null` (the literal) and `other`, which can
only be asked whether it is null. A float term is null where it would be NaN. Literals keep their
exact value until they meet a column, because 0.3 means another number to a float32 column than
to a float64 one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

NUMBERS = ("int", "f32", "f64")
WORDS = {
    "int": "an integer",
    "f32": "a number",
    "f64": "a number",
    "number": "a number",
    "text": "text",
    "bool": "true or false",
    "null": "NULL",
    "other": "a column of another type",
}
_LIMIT = 2**127  # where polars' 128-bit integers end
_LONGEST = 999_999  # the largest power of ten that a Decimal calculates with


class Mismatch(Exception):
    """An operator met kinds it is not for. A phrase, of which `where` makes a RuleError."""


@dataclass(frozen=True)
class Term:
    """One value of a row. kind: see above, or `number` for a literal that has not met a column.

    value: of a literal: Decimal, str, bool or None. expr: of everything else. most: of an integer,
    how far from 0 it may be.
    """

    kind: str
    expr: pl.Expr | None = None
    value: Decimal | str | bool | None = None
    most: int = 2**63

    @property
    def is_literal(self) -> bool:
        """Whether it is written in the condition rather than read from a row."""
        return self.expr is None

    def expr_as(self, kind: str) -> pl.Expr:
        """The expression as this kind, a literal made one. Raises Mismatch."""
        import polars as pl

        dtype = _dtype(kind)
        if self.kind == "null":
            return pl.lit(None, dtype=dtype)
        if self.expr is not None:
            return self._converted(kind)
        if self.kind == "number":
            return _number_literal(self.number, kind)
        if self.kind != kind:
            raise Mismatch(f"{WORDS[self.kind]} where {WORDS[kind]} should be")
        return pl.lit(self.value, dtype=dtype)

    def _converted(self, kind: str) -> pl.Expr:
        import polars as pl

        assert self.expr is not None
        if self.kind == kind:
            return self.expr
        if self.kind in ("int", "f32") and kind == "f64":
            return self.expr.cast(pl.Float64)
        raise Mismatch(f"{WORDS[self.kind]} where {WORDS[kind]} should be")

    @property
    def number(self) -> Decimal:
        """The value of a number literal."""
        assert isinstance(self.value, Decimal)
        return self.value

    @property
    def reach(self) -> int:
        """How far from 0 an integer may be, a literal's own distance."""
        if self.is_literal:
            return abs(int(self.number)) if self.kind == "number" else 0
        return self.most


def _dtype(kind: str) -> Any:
    import polars as pl

    return {"int": pl.Int64, "f32": pl.Float32, "f64": pl.Float64, "text": pl.String,
            "bool": pl.Boolean, "null": pl.Boolean, "number": pl.Float64}[kind]  # fmt: skip


def _number_literal(value: Decimal, kind: str) -> pl.Expr:
    import polars as pl

    if kind == "int" and is_whole(value) and value.copy_abs() < _LIMIT:
        return _integer(value)
    if kind == "f32":
        return pl.lit(float(value), dtype=pl.Float32)
    if kind in ("f64", "number"):
        return pl.lit(float(value), dtype=pl.Float64)
    raise Mismatch(f"the number {value} where {WORDS[kind]} should be")


class Columns(dict[str, "pl.DataType"]):
    """Columns' types by name. made: what stands for a column that an earlier step has changed."""

    def __init__(
        self, types: Mapping[str, pl.DataType], made: Mapping[str, pl.Expr] | None = None
    ) -> None:
        super().__init__(types)
        self.made = dict(made or {})

    def with_made(self, name: str, expr: pl.Expr) -> Columns:
        """The same, with `expr`, of the same type, in place of a column."""
        return Columns(self, {**self.made, name: expr})


def expr_of(schema: Mapping[str, pl.DataType], name: str) -> pl.Expr:
    """A column of the schema as an expression over the frame."""
    import polars as pl

    made = schema.made if isinstance(schema, Columns) else {}
    return made.get(name, pl.col(name))


def column(
    name: str, dtype: pl.DataType, *, keep_nan: bool = False, expr: pl.Expr | None = None
) -> Term:
    """A column of the row; NaN read as null unless `keep_nan`. expr: what stands for it."""
    import polars as pl

    expr = pl.col(name) if expr is None else expr
    if dtype == pl.Boolean:
        return Term("bool", expr)
    if dtype == pl.String:
        return Term("text", expr)
    if dtype.is_integer():
        expr = expr.cast(pl.Int128) if dtype == pl.UInt64 else expr
        return Term("int", expr, most=_furthest(dtype))
    if dtype.is_float():
        kind = "f64" if dtype == pl.Float64 else "f32"
        expr = expr if dtype in (pl.Float64, pl.Float32) else expr.cast(pl.Float32)
        return Term(kind, expr if keep_nan else expr.fill_nan(None))
    if dtype == pl.Null:
        return null()
    return Term("other", expr)


def _furthest(dtype: pl.DataType) -> int:
    """How far from 0 an integer of this type may be: of Int32 2 ** 31, of UInt64 2 ** 64."""
    bits = int(str(dtype).lstrip("UInt"))
    return int(2 ** (bits if dtype.is_unsigned_integer() else bits - 1))


def number(text: str) -> Term:
    """A number as it is written. Infinity and NaN have no literal. Raises Mismatch."""
    try:
        value = Decimal(text)
    except InvalidOperation:  # more digits in the exponent than it has room for
        value = Decimal("inf")
    if not value.is_finite() or abs(value.adjusted()) > _LONGEST:
        raise Mismatch("the exponent is out of range")
    return Term("number", value=value)


def integer(expr: pl.Expr, most: int) -> Term:
    """An integer that is at most so far from 0. Raises Mismatch where 128 bits may not hold it."""
    if most >= _LIMIT:
        raise Mismatch("more than 128 bits may be needed (CAST one side AS DOUBLE)")
    return Term("int", expr, most=most)


def text(value: str) -> Term:
    """A text literal."""
    return Term("text", value=value)


def truth(value: bool) -> Term:
    """TRUE or FALSE."""
    return Term("bool", value=value)


def null() -> Term:
    """NULL."""
    return Term("null")


def condition(term: Term) -> pl.Expr:
    """The term as true, false or null. Raises Mismatch."""
    if term.kind not in ("bool", "null"):
        raise Mismatch(f"{WORDS[term.kind]} where a condition should be")
    return term.expr_as("bool")


def both(a: Term, b: Term) -> Term:
    """AND, three-valued."""
    return Term("bool", condition(a) & condition(b))


def either(a: Term, b: Term) -> Term:
    """OR, three-valued."""
    return Term("bool", condition(a) | condition(b))


def balanced(join: Callable[[Term, Term], Term], several: Sequence[Term]) -> Term:
    """Neighbours joined, then these, and so on: of thousands an expression that is not deep."""
    left = list(several)
    while len(left) > 1:
        odd = left[len(left) // 2 * 2 :]
        left = [join(a, b) for a, b in zip(left[::2], left[1::2], strict=False)] + odd
    return left[0]


def inverted(a: Term) -> Term:
    """NOT, three-valued."""
    return Term("bool", ~condition(a))


def is_null(a: Term) -> Term:
    """IS NULL: also of NaN."""
    return Term("bool", (a.expr if a.expr is not None else a.expr_as(a.kind)).is_null())


def is_truth(a: Term, wanted: bool) -> Term:
    """IS TRUE, IS FALSE: never null."""
    held = condition(a) if wanted else ~condition(a)
    return Term("bool", held.fill_null(False))


def is_nan(a: Term) -> Term:
    """isnan(); a: read with `keep_nan`."""
    return Term("bool", a.expr_as("f32" if a.kind == "f32" else "f64").is_nan())


def common(several: Sequence[Term]) -> str:
    """The kind in which these can stand side by side. Raises Mismatch."""
    kinds = {t.kind for t in several} - {"null"}
    if not kinds:
        return "null"
    if len(kinds) == 1 and "number" not in kinds:
        return kinds.pop()
    if not kinds <= {*NUMBERS, "number"}:
        first, second = sorted(WORDS[k] for k in kinds)[:2]
        raise Mismatch(f"{first} and {second} do not go together")
    kinds.discard("number")
    fractions = any(t.kind == "number" and not is_whole(t.number) for t in several)
    if kinds == {"f32"}:
        return "f32"
    return "int" if kinds <= {"int"} and not fractions else "f64"


_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "=": lambda a, b: a == b,
    "<>": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}
MIRRORED = {"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


def compare(operator: str, a: Term, b: Term) -> Term:
    """a operator b; null where either is. Raises Mismatch."""
    if a.is_literal and not b.is_literal:
        return compare(MIRRORED[operator], b, a)
    if a.kind == "int" and b.kind == "number":
        return Term("bool", _compare_integer(operator, a.expr_as("int"), b.number))
    if a.kind == "number" and b.kind == "number":
        return truth(bool(_COMPARE[operator](a.number, b.number)))
    kind = common([a, b])
    if kind == "other":
        raise Mismatch("a column of this type can only be compared with NULL, by IS NULL")
    return Term("bool", _COMPARE[operator](a.expr_as(kind), b.expr_as(kind)))


def _compare_integer(operator: str, a: pl.Expr, bound: Decimal) -> pl.Expr:
    """An integer with a number as it is written, exactly: never by way of a float."""
    import polars as pl

    beyond = bound.copy_abs() > _LIMIT - 1
    if beyond or (operator in ("=", "<>") and not is_whole(bound)):
        # The answer is the same for every integer.
        constant = operator == "<>" or (operator in ("<", "<=") and bound > 0)
        constant = constant or (operator in (">", ">=") and bound < 0)
        return pl.when(a.is_null()).then(None).otherwise(constant)
    toward = ROUND_CEILING if operator in ("<", ">=") else ROUND_FLOOR
    result: pl.Expr = _COMPARE[operator](a, _integer(bound.to_integral_value(toward)))
    return result


def _integer(value: Decimal) -> pl.Expr:
    import polars as pl

    return pl.lit(int(value), dtype=pl.Int64 if abs(value) < 2**63 else pl.Int128)


def is_whole(value: Decimal) -> bool:
    """Whether a number has no fraction."""
    return value == value.to_integral_value()


def same(a: Term, b: Term) -> Term:
    """IS NOT DISTINCT FROM: null equals null."""
    nulls = _known(is_null(a)) & _known(is_null(b))
    return Term("bool", nulls | condition(compare("=", a, b)).fill_null(False))


def _known(term: Term) -> pl.Expr:
    assert term.expr is not None
    return term.expr


def one_of(a: Term, items: Sequence[Term]) -> Term:
    """IN: true where equal to one, null where not and one is null."""
    if len(items) > 16 and all(i.is_literal for i in items):
        return _one_of_many(a, items)
    return balanced(either, [compare("=", a, item) for item in items])


def _one_of_many(a: Term, items: Sequence[Term]) -> Term:
    """The same for a long list of literals, by hashing."""
    import polars as pl

    kind = a.kind if a.kind in ("text", *NUMBERS) else common([a, *items])
    values, dtype = [i for i in items if i.kind != "null"], _dtype(kind)
    if kind == "int":
        values = [i for i in values if i.kind != "number" or is_whole(i.number)]
        values = [i for i in values if i.kind != "number" or i.number.copy_abs() < _LIMIT]
        dtype = pl.Int128 if any(i.reach >= 2**63 for i in values) else dtype
    each = [pl.select(i.expr_as(kind).cast(dtype)).to_series() for i in values]
    found = a.expr_as(kind).is_in(pl.concat([pl.Series(dtype=dtype), *each]).implode())
    if len(values) < len(items) and any(i.kind == "null" for i in items):
        found = pl.when(found).then(True).otherwise(None)
    return Term("bool", found)
