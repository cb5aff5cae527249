"""One part of metadata in, counts out: what `filter` would keep of it, and what that would mean.

The rules' columns are read first. Only of row groups in which something survives are the others
read: url, hash and text for their 64-bit hashes, width and height for the pixels. Of a row group
that statistics rule out nothing is read where there is one rule; several are asked what else they
drop of it. Nothing is written.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from coyo_tools.pieces.bites import Bite, Served, bites, reading, serve
from coyo_tools.pieces.expected import stored_pixels
from coyo_tools.pieces.funnel import (
    Counts,
    columns_after,
    counted,
    counting,
    counting_unique_kills,
    tests_of,
)
from coyo_tools.pieces.judging import answers_of
from coyo_tools.pieces.prune import ruled_out
from coyo_tools.pieces.rules import AnyRule
from coyo_tools.pieces.selections import Tests
from coyo_tools.pieces.source import OpenPart
from coyo_tools.pieces.sql_terms import expr_of

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    Array = np.ndarray[Any, Any]

SIZES = ("width", "height")


@dataclass(frozen=True)
class Survey:
    """What to find out. uniques: columns whose values to hash. image_size: px, to add up the pixels
    that pictures of it have; None: leave width and height alone."""

    rules: tuple[AnyRule, ...]
    uniques: tuple[str, ...]
    image_size: int | None


@dataclass(frozen=True)
class Surveyed:
    """Of some rows: the funnel's counts, and unique kills by rule. Of the rows that pass: hashes of
    each column's values, nulls left out; how many have a size, and pixels of those."""

    counts: Counts
    unique_kills: tuple[int, ...]
    hashes: dict[str, list[Array]] = field(default_factory=dict)
    sized: int = 0
    pixels: int = 0


def survey(
    part: OpenPart, what: Survey, stopped: Callable[[], bool] = lambda: False
) -> Iterator[tuple[int, Surveyed]]:
    """Bite by bite: its rows, and what they are like. Ends where stopped.

    Raises SourceError, SchemaError, RuleError.
    """
    tests, read = tests_of(what.rules, part)
    # What a row fails beside the rule that rules it out, statistics do not say.
    unread = ruled_out(part, what.rules) if len(tests) == 1 else {}
    for group, by in unread.items():
        rows = int(part.metadata.row_group(group).num_rows)
        yield rows, Surveyed(Counts.ruled_out(rows, by, len(tests)), (rows,))
    for bite in bites(part, without=unread):
        if stopped():
            return
        with serve(bite) as served:
            passing, counts, kills = _judged(bite, served, tests, read)
            found = _Found(what)
            if counts.kept:
                here, others = found.columns(read if tests else ())
                found.look(bite, served, here, passing)
                for run, mask in _surviving(bite, passing) if others else ():
                    with serve(run) as more:
                        found.look(run, more, others, mask)
        yield bite.rows, Surveyed(counts, kills, found.hashes, found.sized, found.pixels)


def _judged(
    bite: Bite, served: Served, tests: Sequence[Tests], read: Sequence[str]
) -> tuple[pl.Series, Counts, tuple[int, ...]]:
    """Which rows pass, the counts, and the unique kills. Nothing is read where there is no rule."""
    import polars as pl

    if not tests:
        return pl.repeat(True, bite.rows, eager=True), Counts(bite.rows), ()
    verdicts, known = answers_of(tests)
    with reading(bite):
        judged = served.scan(read).select(verdicts).collect()
    row = judged.select([*counting(known), *counting_unique_kills(known)]).row(0, named=True)
    passes = pl.all_horizontal([test.passes for test in known]).fill_null(value=False)
    passing = judged.select(passes).to_series()
    kills = tuple(int(row[f"only{n}"]) for n in range(len(tests)))
    return passing, counted(bite.rows, row, len(tests)), kills


def _surviving(bite: Bite, passing: pl.Series) -> Iterator[tuple[Bite, pl.Series]]:
    """Runs of row groups in which something passes, each with its rows of `passing`."""
    spans, at = [], 0
    for group in bite.row_groups:
        rows = int(bite.part.metadata.row_group(group).num_rows)
        spans.append((passing.slice(at, rows).any(), group, at, rows))
        at += rows
    for alive, run in itertools.groupby(spans, key=lambda span: span[0]):
        if not alive:
            continue
        groups, starts, counts = zip(*((g, s, c) for _, g, s, c in run), strict=True)
        whole = range(groups[0], groups[-1] + 1)
        count = sum(counts)
        yield (
            Bite(bite.part, whole, bite.offset + starts[0], count),
            passing.slice(starts[0], count),
        )


class _Found:
    """What is found among the rows of a bite that pass."""

    def __init__(self, what: Survey) -> None:
        self._what = what
        self.hashes: dict[str, list[Array]] = {name: [] for name in what.uniques}
        self.sized = self.pixels = 0

    def columns(self, read: Sequence[str]) -> tuple[list[str], list[str]]:
        """What to look at: that which the rules read already, and the others. Width and height stay
        together."""
        sizes = SIZES if self._what.image_size else ()
        known = {*read, *(sizes if set(sizes) & set(read) else ())}
        wanted = (*self._what.uniques, *sizes)
        return [n for n in wanted if n in known], [n for n in wanted if n not in known]

    def look(self, bite: Bite, served: Served, columns: Sequence[str], passing: pl.Series) -> None:
        """Take in the rows that pass, of these columns; one at a time, texts are large."""
        import polars as pl

        if not columns:
            return
        kept, made = pl.lit(passing), columns_after(self._what.rules, bite.part)
        with reading(bite):
            frame = served.scan(columns)
            for name in [name for name in columns if name in self.hashes]:
                values = expr_of(made, name).filter(kept).drop_nulls().hash()
                self.hashes[name].append(frame.select(values).collect().to_series().to_numpy())
            if self._what.image_size and SIZES[0] in columns:
                pixels = stored_pixels(self._what.image_size).filter(kept)
                found = frame.select(sized=pixels.count(), pixels=pixels.sum()).collect()
                sized, total = found.row(0)
                self.sized += sized
                self.pixels += total
