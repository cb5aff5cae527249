"""Rules asked of every row while polars reads it, and counted in the same pass.

polars reads the rules' columns of a row group, asks a predicate which rows to keep, and decodes the
other columns for those only. `Judge` is that predicate, so that the funnel's counts cost no
second reading.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from coyo_tools.pieces.bites import ROW
from coyo_tools.pieces.funnel import Counts
from coyo_tools.pieces.selections import Tests

if TYPE_CHECKING:
    import polars as pl


class Stopped(Exception):
    """Nobody wants the rest of this part: another one failed, or the run was interrupted."""


class Judge:
    """Says which rows pass all tests, and counts. May be asked from several threads at once.

    on_rows: hears how many more rows have been judged. stopped: whether to give up, by raising
    Stopped. catch_ids: keep the ids of the rows that pass.
    counts: so far. ids: caught so far, a series each time. failure: the first error, because
    polars rewords what a predicate raises.
    """

    def __init__(
        self,
        tests: Sequence[Tests],
        *,
        on_rows: Callable[[int], None] = lambda _: None,
        stopped: Callable[[], bool] = lambda: False,
        catch_ids: bool = False,
    ) -> None:
        self._on_rows, self._stopped, self._catch_ids = on_rows, stopped, catch_ids
        self._answers, self._answered = answers_of(tests)
        self._lock = threading.Lock()
        self.counts = Counts.none(len(self._answered))
        self.ids: list[pl.Series] = []
        self.failure: BaseException | None = None

    def passing(self, frame: pl.LazyFrame, columns: Sequence[str]) -> pl.LazyFrame:
        """The rows of a `scan` that pass; columns: what the tests look at, and `id` to catch it.

        The query has to read each row once for the counts to hold. Predicates on one column alone
        polars asks of the values in a dictionary as well, and of statistics where it uses them;
        so the row number is always among what is looked at. The answers are part of the query,
        because a query of their own for each row group costs more than they do.
        """
        import polars as pl

        rows = pl.struct(ROW, *columns, *self._answers)
        return frame.filter(rows.map_batches(self._judge, pl.Boolean, is_elementwise=True))

    def _judge(self, rows: pl.Series) -> pl.Series:
        try:
            return self._told(rows.struct.unnest())
        except BaseException as error:
            self.failure = self.failure or error
            raise

    def ask(self, frame: pl.DataFrame) -> pl.Series:
        """Whether each row passes all tests: Boolean (n,), without null. Counts the rows.

        Raises Stopped, and what polars raises.
        """
        return self._told(frame.with_columns(self._answers))

    def _told(self, answers: pl.DataFrame) -> pl.Series:
        """Whether each row passes all tests, from the answers to them."""
        if self._stopped():
            raise Stopped
        counts, passes = self._counted(answers)
        with self._lock:
            self.counts += counts
            if self._catch_ids:
                self.ids.append(answers["id"].filter(passes).drop_nulls())
        self._on_rows(answers.height)
        return passes

    def _counted(self, answers: pl.DataFrame) -> tuple[Counts, pl.Series]:
        """The counts, and which rows pass. Series by series: a second query would cost as much as
        asking the tests did, for each row group."""
        import polars as pl

        passing = None
        counts: list[tuple[int, int, int, int]] = []
        for number, test in enumerate(self._answered):
            passes = answers[f"?passes{number}"]
            passing = passes if passing is None else passing & passes
            changed = 0 if test.changes is None else _true(passing & answers[f"?changes{number}"])
            unknown = _true(answers[f"?unknown{number}"])
            counts.append((_true(passing), _true(passes), unknown, changed))
        if passing is None:
            return Counts(answers.height), pl.repeat(value=True, n=answers.height, eager=True)
        known = passing.fill_null(value=False) if passing.null_count() else passing
        return Counts(answers.height, *zip(*counts, strict=True)), known


def _true(answers: pl.Series) -> int:
    return int(answers.sum())


def answers_of(tests: Sequence[Tests]) -> tuple[list[pl.Expr], list[Tests]]:
    """Expressions that make a column of each answer, and the tests as a look at these columns."""
    import polars as pl

    exprs, answered = [], []
    for number, test in enumerate(tests):
        names = f"?passes{number}", f"?unknown{number}"
        exprs += [test.passes.cast(pl.Boolean).alias(names[0]), test.unknown.alias(names[1])]
        changes = None
        if test.changes is not None:
            exprs.append(test.changes.alias(f"?changes{number}"))
            changes = pl.col(f"?changes{number}")
        answered.append(Tests(pl.col(names[0]), pl.col(names[1]), changes))
    return exprs, answered
