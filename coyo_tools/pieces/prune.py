"""Row groups in which a rule keeps nothing, told by the footer's statistics: they are not read.

Sure answers only. What is used: smallest and largest value of columns of integers and floats. A
rule keeps neither null nor NaN, so that statistics which leave NaN out, as they have to, rule out
as well as any. What is not believed: a smallest or largest value that is NaN, or the wrong way
round; and what pyarrow knows its writer to have got wrong.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from coyo_tools.pieces import where
from coyo_tools.pieces.bites import polars_types
from coyo_tools.pieces.rules import AnyRule, Rule
from coyo_tools.pieces.selections import Top, of_part
from coyo_tools.pieces.sql_parsing import parse
from coyo_tools.pieces.sql_terms import MIRRORED, column

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

    from coyo_tools.pieces.parts import OpenPart

Number = int | float | Decimal
_COMBINED = {("shorter", ">="), ("longer", "<=")}  # these two hold of each column by itself


@dataclass(frozen=True)
class _Bound:
    """What has to hold of a row for a rule to keep it: column operator value."""

    column: str
    operator: str
    value: Number


@dataclass(frozen=True)
class _Range:
    """The values of a column in a row group, in COYO's type."""

    least: int | float
    greatest: int | float

    def rules_out(self, operator: str, value: int | float | Decimal) -> bool:
        """Whether no value can stand in this relation."""
        return {
            ">=": self.greatest < value,
            ">": self.greatest <= value,
            "<=": self.least > value,
            "<": self.least >= value,
            "=": value < self.least or value > self.greatest,
        }[operator]


def ruled_out(part: OpenPart, rules: Sequence[AnyRule]) -> dict[int, int]:
    """Row groups in which some rule keeps no row, by number; with the first such rule's number.

    None where the part's statistics are not to be believed.
    """
    if not part.statistics:
        return {}
    types = polars_types(part.schema)
    bounds = [list(_bounds(of_part(rule, part.part.name), types)) for rule in rules]
    found: dict[int, int] = {}
    if any(bounds):
        look = _Statistics(part, types)
        for row_group in range(part.row_groups):
            for number, each in enumerate(bounds):
                if any(look.rule_out(row_group, bound) for bound in each):
                    found[row_group] = number
                    break
    return found


def _bounds(rule: AnyRule, types: dict[str, pl.DataType]) -> Iterator[_Bound]:
    """What has to hold of a row for the rule to keep it; there may be more that has to."""
    if isinstance(rule, Top):
        cut = rule.cut
        if cut is not None and cut.value is not None and rule.by in types:
            yield _Bound(rule.by, ">=", cut.value)
    elif isinstance(rule, Rule) and rule.kind.operator == "sql":
        yield from _necessary(parse(str(rule.value)), types)
    elif isinstance(rule, Rule) and rule.kind.takes_number:
        kind = rule.kind
        if not kind.combine or (kind.combine, kind.operator) in _COMBINED:
            for name in kind.columns:
                yield _Bound(name, kind.operator, Decimal(repr(rule.value)))


def _necessary(node: Any, types: dict[str, pl.DataType]) -> Iterator[_Bound]:
    """Comparisons of a column with a number that hold of every row of which the condition does:
    those that AND joins on the outside."""
    from sqlglot import exp

    if isinstance(node, exp.Paren):
        yield from _necessary(node.this, types)
    elif isinstance(node, exp.And):
        for item in node.flatten(unnest=False):
            yield from _necessary(item, types)
    elif isinstance(node, exp.Between):
        yield from _comparison(node.this, ">=", node.args["low"], types)
        yield from _comparison(node.this, "<=", node.args["high"], types)
    elif (sign := where.signs().get(type(node))) and sign != "<>":
        yield from _comparison(node.this, sign, node.expression, types)
        yield from _comparison(node.expression, MIRRORED[sign], node.this, types)


def _comparison(
    left: Any, sign: str, right: Any, types: dict[str, pl.DataType]
) -> Iterator[_Bound]:
    from sqlglot import exp

    negative = isinstance(right, exp.Neg)
    number = right.this if negative else right
    if isinstance(left, exp.Column) and isinstance(number, exp.Literal) and number.is_number:
        value, name = Decimal(number.this), where.name_in(types, left)
        if name is not None:
            yield _Bound(name, sign, -value if negative else value)


class _Statistics:
    """The ranges of one part's columns, as its footer has them."""

    def __init__(self, part: OpenPart, types: dict[str, pl.DataType]) -> None:
        self._part = part
        self._kinds = {name: column(name, dtype).kind for name, dtype in types.items()}
        leaves = part.metadata.schema
        self._at = {leaves.column(n).path: n for n in range(part.metadata.num_columns)}
        self._raw = part.metadata.schema.to_arrow_schema()

    def rule_out(self, row_group: int, bound: _Bound) -> bool:
        """Whether no row of the row group can fulfil the bound."""
        kind = self._kinds.get(bound.column, "")
        if kind not in ("int", "f32", "f64"):
            return False
        found = self._range(row_group, bound.column)
        return found is not None and found.rules_out(bound.operator, _in_type(bound.value, kind))

    def _range(self, row_group: int, name: str) -> _Range | None:
        own = self._part.binding.columns[name]
        group = self._part.metadata.row_group(row_group)
        if own not in self._at or not group.num_rows:
            return None
        statistics = group.column(self._at[own]).statistics
        # Nulls alone have no ends either: such a column is read, for next to no bytes, and counted.
        if statistics is None or not statistics.has_min_max:
            return None
        raw, read = self._raw.field(own).type, self._part.schema.field(name).type
        ends = [_as_read(end, raw, read) for end in (statistics.min, statistics.max)]
        if ends[0] is None or ends[1] is None or ends[0] > ends[1]:
            return None
        return _Range(ends[0], ends[1])


def _as_read(end: Any, raw: pa.DataType, read: pa.DataType) -> int | float | None:
    """The end of a range as the column is read; None where that cannot be told."""
    import pyarrow as pa

    if pa.types.is_integer(raw) and pa.types.is_integer(read):
        # A value that does not fit is an error, which has to be met.
        bits = read.bit_width
        least, greatest = (-(1 << bits - 1), (1 << bits - 1) - 1)
        if pa.types.is_unsigned_integer(read):
            least, greatest = 0, (1 << bits) - 1
        return end if isinstance(end, int) and least <= end <= greatest else None
    if not (pa.types.is_floating(raw) and pa.types.is_floating(read)):
        return None
    if not isinstance(end, float) or math.isnan(end):
        return None
    return _single(end) if read == pa.float32() else end


def _in_type(value: Number, kind: str) -> Number:
    """A bound as it is compared: in a float column's own type, with integers exactly."""
    if kind == "int":
        return value
    return _single(float(value)) if kind == "f32" else float(value)


def _single(value: float) -> float:
    """The float32 nearest to it."""
    import numpy as np

    with np.errstate(over="ignore"):  # to infinity
        return float(np.float32(value))
