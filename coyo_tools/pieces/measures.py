"""What rows are ordered by: a column, an expression over several, or the hash of the id."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from coyo_tools.pieces import where
from coyo_tools.pieces.quantiles import Order
from coyo_tools.pieces.sampling import hash_expr
from coyo_tools.pieces.sql_terms import column
from coyo_tools.words.errors import RuleError, SchemaError, beginning, nearest

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Measure:
    """One number a row. by: a column or an SQL expression; None: h(id, seed)."""

    by: str | None = None
    seed: int = 0

    def over(self, schema: Mapping[str, pl.DataType], source: str) -> Measured:
        """The measure over columns of these types. Raises SchemaError, RuleError."""
        import polars as pl

        if self.by is None:
            _check_id(schema, source)
            return Measured(hash_expr(self.seed), Order("hash"), ("id",))
        if self.by in schema:
            return _column(self.by, schema[self.by], source)
        if self.by.replace("_", "").isalnum():
            raise SchemaError(
                f"has no column {self.by!r}", where=source, todo=_hint(self.by, schema)
            )
        try:
            term, columns = where.compile_number(self.by, schema)
        except RuleError as error:
            raise RuleError(
                error.what, where=f"--by {beginning(self.by)!r}", todo=error.todo
            ) from error
        assert term.expr is not None
        expr = term.expr.cast(pl.Int64) if term.kind == "int" else term.expr
        return Measured(expr, Order(term.kind), columns)


@dataclass(frozen=True)
class Measured:
    """A measure as a polars expression: Int64, Float32, Float64 or UInt64 by its order's kind;
    null (or NaN) where a row has none. columns: those it reads."""

    expr: pl.Expr
    order: Order
    columns: tuple[str, ...]


def _check_id(schema: Mapping[str, pl.DataType], source: str) -> None:
    if "id" not in schema or not schema["id"].is_integer():
        raise SchemaError(
            "has no column 'id' of integers, by which rows are sampled and ties are broken",
            where=source,
        )


def _hint(name: str, schema: Mapping[str, pl.DataType]) -> str:
    numbers = [known for known, dtype in schema.items() if dtype.is_numeric()]
    near = nearest(name, numbers)
    return f"did you mean {near!r}?" if near else f"its numbers are {', '.join(numbers)}"


def _column(name: str, dtype: pl.DataType, source: str) -> Measured:
    import polars as pl

    if not is_measurable(dtype):
        raise SchemaError(f"column {name!r} is no number to order by", where=source)
    term = column(name, dtype)
    assert term.expr is not None
    expr = term.expr.cast(pl.Int64) if term.kind == "int" else term.expr
    return Measured(expr, Order(term.kind), (name,))


def is_measurable(dtype: pl.DataType) -> bool:
    """Whether rows can be ordered by a column of this type: integers up to int64, and floats."""
    import polars as pl

    return (
        dtype.is_numeric()
        and dtype not in (pl.UInt64, pl.Int128, pl.Null)
        and not (dtype.is_decimal())
    )
