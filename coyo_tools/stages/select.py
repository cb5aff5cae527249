"""One part of metadata in, numbers out: what its rows that pass some rules measure.

The counting passes of `--top`, `--sample` and `coyo stats`: nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coyo_tools.pieces.bites import Bite, bites, polars_types, reading, serve
from coyo_tools.pieces.funnel import columns_after, tests_of
from coyo_tools.pieces.measures import Measure, Measured
from coyo_tools.pieces.prune import ruled_out
from coyo_tools.pieces.rules import AnyRule
from coyo_tools.pieces.source import OpenPart

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    Array = np.ndarray[Any, Any]


AT_ONCE = 3  # measures read together


@dataclass(frozen=True)
class Look:
    """What to look at: of the rows that pass `before`, these measures.

    at: only rows where this measure has this value. raw: columns as they are, NaN and null told
    apart; else a NaN is a null.
    """

    measures: tuple[Measure, ...]
    before: tuple[AnyRule, ...] = ()
    at: tuple[Measure, float | int] | None = None
    raw: bool = False


@dataclass(frozen=True)
class Seen:
    """Of one measure in one bite: its values (n,), without null and NaN, and how many had none."""

    values: Array
    nulls: int
    nans: int


def look(
    part: OpenPart, what: Look, *, stopped: Callable[[], bool] = lambda: False
) -> Iterator[tuple[int, Iterator[Seen]]]:
    """Per bite its rows, whether they pass or not, and what each measure saw. Ends where stopped.

    What was seen is read as it is asked for, a few measures at a time, and before the next bite:
    so the values of few are held at once. Row groups in which `before` keeps nothing are told with
    the first bite, and not read. Raises SourceError, SchemaError, RuleError.
    """
    plan, unread = _Plan(part, what), ruled_out(part, what.before)
    unseen = sum(int(part.metadata.row_group(group).num_rows) for group in unread)
    for bite in bites(part, without=unread):
        if stopped():
            return
        with reading(bite), serve(bite) as served:
            frame = served.scan(plan.columns)
            if plan.conditions:
                frame = frame.filter(plan.conditions)
            yield bite.rows + unseen, _seen_in(bite, frame, plan.exprs)
            unseen = 0


def _seen_in(bite: Bite, frame: pl.LazyFrame, exprs: Sequence[pl.Expr]) -> Iterator[Seen]:
    with reading(bite):
        for start in range(0, len(exprs), AT_ONCE):
            found = frame.select(exprs[start : start + AT_ONCE]).collect().get_columns()
            while found:
                yield _seen(found.pop(0))


class _Plan:
    """The expressions of a look over one part's columns."""

    def __init__(self, part: OpenPart, what: Look) -> None:
        import polars as pl

        types, url = columns_after(what.before, part), part.part.url
        measured = [_raw(m, types) if what.raw else m.over(types, url) for m in what.measures]
        self.exprs = [each.expr.alias(f"m{number}") for number, each in enumerate(measured)]
        tests, columns = tests_of(what.before, part) if what.before else ([], ())
        self.conditions: list[pl.Expr] = [test.passes for test in tests]
        read = [*(name for each in measured for name in each.columns), *columns]
        if what.at is not None:
            at = what.at[0].over(types, url)
            self.conditions.append(at.expr == pl.lit(what.at[1], dtype=_dtype(at.order.kind)))
            read += at.columns
        self.columns = tuple(dict.fromkeys(read)) or (next(iter(part.binding.columns)),)


def _dtype(kind: str) -> type[pl.DataType]:
    import polars as pl

    return {"int": pl.Int64, "f32": pl.Float32, "f64": pl.Float64, "hash": pl.UInt64}[kind]


def _raw(measure: Measure, types: dict[str, pl.DataType]) -> Measured:
    import polars as pl

    assert measure.by is not None
    over = measure.over(types, "")
    if over.order.kind == "int" or measure.by not in types:
        return over
    return Measured(pl.col(measure.by).cast(_dtype(over.order.kind)), over.order, over.columns)


def _seen(series: pl.Series) -> Seen:
    """Without null and NaN."""
    import numpy as np

    values = series.drop_nulls().to_numpy()
    nulls, nans = series.len() - len(values), 0
    if values.dtype.kind == "f":
        odd = np.isnan(values)
        nans = int(np.count_nonzero(odd))
        values = values[~odd] if nans else values
    return Seen(values, nulls, nans)


def orders_of(part: OpenPart, measures: Sequence[Measure]) -> list[str]:
    """The kinds of order that measures have over this part. Raises SchemaError, RuleError."""
    types = polars_types(part.schema)
    return [measure.over(types, part.part.url).order.kind for measure in measures]
