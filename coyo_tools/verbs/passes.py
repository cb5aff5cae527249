"""Passes over all parts of a source that write nothing: of `--top`, `--sample`, stats, plan."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from coyo_tools.pieces import quantiles
from coyo_tools.pieces.measures import Measure
from coyo_tools.pieces.quantiles import Answer, Ask, Order, Search, Tally, narrow
from coyo_tools.pieces.rules import AnyRule
from coyo_tools.pieces.selections import Cut, Sample, Top, needs_cut
from coyo_tools.pieces.source import OpenPart
from coyo_tools.stages.select import Look, Seen, look, orders_of
from coyo_tools.words.errors import SchemaError
from coyo_tools.words.progress import Listener, Progress, silent

Found = TypeVar("Found")


class Passes:
    """Passes over the same parts, several parts at a time in threads."""

    def __init__(
        self, verb: str, parts: Sequence[OpenPart], workers: int, progress: Listener
    ) -> None:
        self._verb, self._parts, self._workers = verb, parts, workers
        self._progress, self._lock = progress, threading.Lock()
        self._total = sum(part.rows for part in parts)

    def each(
        self,
        work: Callable[[OpenPart, Callable[[], bool]], Iterable[tuple[int, Found]]],
        hear: Callable[[OpenPart, Found], None],
        note: str = "",
    ) -> None:
        """One pass. work: of a part, yields how many more rows are done and what it found there,
        and is told whether to stop. hear: is given each finding, from several threads.

        Raises what the first bad part raised.
        """
        done, stop = [0], threading.Event()

        def one(part: OpenPart) -> None:
            try:
                for rows, found in work(part, stop.is_set):
                    hear(part, found)
                    with self._lock:
                        done[0] += rows
                        self._progress(Progress(self._verb, done[0], self._total, "rows", note))
            except BaseException:
                stop.set()
                raise

        with ThreadPoolExecutor(self._workers) as pool:
            running = [pool.submit(one, part) for part in self._parts]
            try:
                errors = [error for each in running if (error := each.exception()) is not None]
            except BaseException:
                stop.set()
                raise
        if errors:
            raise errors[0]

    def over(self, what: Look, hear: Callable[[Iterable[Seen]], None], note: str) -> None:
        """One pass that measures: `hear` is given every bite's measures, from several threads."""
        self.each(
            lambda part, stopped: look(part, what, stopped=stopped),
            lambda _, seen: hear(seen),
            note,
        )

    def orders(self, measures: Sequence[Measure]) -> list[Order]:
        """The order of each measure, the same in every part. Raises SchemaError."""
        kinds: list[str] = ["int"] * len(measures)
        for number, part in enumerate(self._parts):
            here = orders_of(part, measures)
            if number and here != kinds:
                at = next(i for i, kind in enumerate(here) if kind != kinds[i])
                raise SchemaError(
                    f"column {measures[at].by!r} is of another type than in "
                    f"{self._parts[0].part.name}",
                    where=part.part.url,
                )
            kinds = here
        return [Order(kind) for kind in kinds]

    def tallies(
        self,
        what: Look,
        note: str,
        also: Callable[[int, Seen], None] = lambda _, __: None,
    ) -> list[Tally]:
        """The first pass: a histogram of every measure. also: hears each bite's measures too."""
        found = [Tally(order) for order in self.orders(what.measures)]

        def hear(seen: Iterable[Seen]) -> None:
            for number, (tally, each) in enumerate(zip(found, seen, strict=True)):
                tally.add(each.values, nulls=each.nulls, nans=each.nans)
                also(number, each)

        self.over(what, hear, note)
        return found

    def narrow(
        self, what: Look, searches: Sequence[tuple[int, Search]], orders: Sequence[Order], note: str
    ) -> None:
        """Further passes, until every search has its key. searches: with their measure's number."""

        def once(answers: Sequence[Answer]) -> None:
            numbers = sorted({answer.ask.column for answer in answers})
            less = dataclasses.replace(what, measures=tuple(what.measures[n] for n in numbers))

            def hear(seen: Iterable[Seen]) -> None:
                for number, each in zip(numbers, seen, strict=True):
                    keys = orders[number].keys(each.values)
                    for answer in answers:
                        if answer.ask.column == number:
                            answer.add(keys)

            self.over(less, hear, note)

        narrow(searches, once)

    def cuts(self, rule: Top, before: tuple[AnyRule, ...]) -> dict[str, Cut]:
        """Where a top of each part cuts, by the part's name, in the parts' order."""
        found: dict[str, Cut] = {}

        def one(part: OpenPart, _: Callable[[], bool]) -> Iterator[tuple[int, Cut]]:
            yield part.rows, _cut(rule, before, Passes(self._verb, [part], 1, silent), None)

        self.each(one, lambda part, cut: found.update({part.part.name: cut}), rule.label)
        return {part.part.name: found[part.part.name] for part in self._parts}


def resolve(
    rules: Sequence[AnyRule], passes: Passes, histogram: Callable[[str], Tally | None]
) -> tuple[AnyRule, ...]:
    """The rules, each selection with its cut over the rows that passed the rules before it.

    histogram: one of all rows by a column, kept from earlier, or None.
    """
    done: list[AnyRule] = []
    for rule in rules:
        if isinstance(rule, Top) and rule.per == "part":
            done.append(dataclasses.replace(rule, cuts=passes.cuts(rule, tuple(done))))
        elif needs_cut(rule):
            assert isinstance(rule, Top | Sample)
            known = histogram(rule.by) if isinstance(rule, Top) and not done else None
            done.append(dataclasses.replace(rule, cut=_cut(rule, tuple(done), passes, known)))
        else:
            done.append(rule)
    return tuple(done)


def _cut(
    rule: Top | Sample, before: tuple[AnyRule, ...], passes: Passes, known: Tally | None
) -> Cut:
    what = Look((rule.measure,), before)
    tally = known or passes.tallies(what, rule.label)[0]
    if isinstance(rule, Sample):
        rows = rule.amount.of(tally.values)
        if rows == tally.values:
            return Cut(rows)
        return Cut(rows, hash=_rank(passes, what, tally, rows - 1, rule.label).lo)
    rows = min(rule.amount.of(tally.rows), tally.values)
    if rows in (0, tally.values):
        return Cut(rows)
    return _cut_top(rule, passes, what, tally, rows)


def _cut_top(rule: Top, passes: Passes, what: Look, tally: Tally, rows: int) -> Cut:
    search = _rank(passes, what, tally, tally.values - rows, rule.label)
    value = tally.order.value(search.lo)
    above = tally.values - search.below - search.count
    kept = rows - above
    if kept == search.count:
        return Cut(rows, value, None, search.count, kept)
    tied = Look((Measure(),), what.before, at=(rule.measure, value))
    last = _smallest(passes, tied, search.count, kept - 1, rule.label)
    return Cut(rows, value, last, search.count, kept)


def _smallest(passes: Passes, tied: Look, count: int, rank: int, label: str) -> int:
    """The hash of this rank among the rows tied, of which there are so many.

    In one pass where they can be held. Raises SchemaError where one of them has no id.
    """
    note = f"{label}: ties"
    if count > quantiles.HELD_AT_MOST:
        tally = passes.tallies(tied, note)[0]
        _check_ids(tally.nulls, tied, label)
        return _rank(passes, tied, tally, rank, note).lo
    answer = Answer(Ask(0, 0, Order("hash").last, hold=True))

    def hear(seen: Iterable[Seen]) -> None:
        for each in seen:
            answer.add(each.values)

    passes.over(tied, hear, note)
    hashes = answer.result()
    _check_ids(count - len(hashes), tied, label)
    return int(hashes[rank])


def _check_ids(lacking: int, tied: Look, label: str) -> None:
    if lacking:
        assert tied.at is not None
        raise SchemaError(
            f"{lacking:,} rows tied at {tied.at[1]:.6g} have no id, by which ties are broken",
            where=label,
            todo='leave them out with --where "id IS NOT NULL" before --top',
        )


def _rank(passes: Passes, what: Look, tally: Tally, rank: int, note: str) -> Search:
    search = tally.search(rank)
    passes.narrow(what, [(0, search)], [tally.order], note)
    return search
