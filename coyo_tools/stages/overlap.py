"""One part of metadata in, counts out: how many of its rows pass which of several sets of rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from coyo_tools.pieces.bites import bites, reading, serve
from coyo_tools.pieces.funnel import tests_of
from coyo_tools.pieces.rules import AnyRule
from coyo_tools.pieces.source import OpenPart

if TYPE_CHECKING:
    import polars as pl


def patterns_in(
    part: OpenPart, sets: Sequence[Sequence[AnyRule]], stopped: Callable[[], bool]
) -> Iterator[tuple[int, Counter[int]]]:
    """Per bite its rows, and how many of them pass which sets of rules: bit n for the n-th set.

    Ends where stopped. Raises SourceError, SchemaError, RuleError.
    """
    asked, read = _pattern(part, sets)
    for bite in bites(part):
        if stopped():
            return
        with reading(bite), serve(bite) as served:
            # with_columns: a pattern that reads no column is one of every row all the same
            rows = served.scan(read).with_columns(asked).select("pattern").collect()
        found = rows.group_by("pattern").len()
        yield bite.rows, Counter(dict(found.iter_rows()))


def _pattern(part: OpenPart, sets: Sequence[Sequence[AnyRule]]) -> tuple[pl.Expr, tuple[str, ...]]:
    """The bits of a row, UInt64, and the columns that they take."""
    import polars as pl

    bits, read = [], {}
    for number, rules in enumerate(sets):
        tests, columns = tests_of(rules, part)
        passes = pl.all_horizontal([pl.lit(value=True), *(test.passes for test in tests)])
        bits.append(pl.when(passes).then(pl.lit(1 << number, pl.UInt64)).otherwise(0))
        read.update(dict.fromkeys(columns))
    return pl.sum_horizontal(bits).cast(pl.UInt64).alias("pattern"), tuple(read)
