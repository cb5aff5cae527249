"""Two sets of ids against each other, and rules asked of the rows that one of them lacks.

The ids of a side are sorted a stretch of rows at a time and kept on disk, 8 bytes each; merged,
they tell what each side lacks. Every such id goes back to the stretch that has its first row, so
that its row is found again with no more than a stretch's ids in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from coyo_tools.machinery.sorted_runs import merged
from coyo_tools.machinery.storage import storage_errors
from coyo_tools.pieces.bites import Bite, bites, polars_types, reading, serve
from coyo_tools.pieces.first_rows import first_rows
from coyo_tools.pieces.funnel import Counts, counted, counting, tests_of
from coyo_tools.pieces.rules import AnyRule
from coyo_tools.pieces.source import OpenPart
from coyo_tools.words.errors import SchemaError

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

STRETCH_ROWS = 2_000_000  # 16 MB of ids
Told = Callable[[int], None]


@dataclass(frozen=True)
class Stretch:
    """Consecutive bites of a side. ids: theirs, sorted; chosen: ids whose first row is here, sorted
    too, once they were chosen. Both are .npy of int64."""

    bites: tuple[Bite, ...]
    ids: Path
    chosen: Path


@dataclass(frozen=True)
class Sorted:
    """A side's ids. rows: all of them; without_id: of those, the ones that cannot be compared."""

    stretches: tuple[Stretch, ...]
    rows: int
    without_id: int

    @property
    def chosen(self) -> list[Path]:
        """Where the chosen ids lie."""
        return [stretch.chosen for stretch in self.stretches]


@dataclass(frozen=True)
class Shared:
    """Ids, each counted once: on either side, on both, and with a chosen one on either side."""

    a: int = 0
    b: int = 0
    both: int = 0


def sort_ids(parts: Sequence[OpenPart], scratch: Path, told: Told) -> Sorted:
    """Read and sort the ids of all parts. scratch: an empty folder. told: hears of rows read.

    Raises SchemaError where a part has no ids, SourceError, StorageError.
    """
    import numpy as np

    for part in parts:
        types = polars_types(part.schema)
        if "id" not in types or not types["id"].is_integer():
            raise SchemaError("has no column 'id' of integers to compare by", where=part.part.url)
    stretches, rows, without = [], 0, 0
    for number, taken in enumerate(_stretches(parts)):
        here = Stretch(taken, scratch / f"{number}.npy", scratch / f"{number}.chosen.npy")
        found = [_ids(bite, told) for bite in taken]
        ids = np.concatenate(found)
        ids.sort()
        with storage_errors(str(scratch)):
            np.save(here.ids, ids)
        held = sum(bite.rows for bite in taken)
        stretches.append(here)
        rows, without = rows + held, without + held - len(ids)
    return Sorted(tuple(stretches), rows, without)


def _stretches(parts: Sequence[OpenPart]) -> Iterator[tuple[Bite, ...]]:
    held: list[Bite] = []
    for part in parts:
        for bite in bites(part):
            if held and sum(each.rows for each in held) + bite.rows > STRETCH_ROWS:
                yield tuple(held)
                held = []
            held.append(bite)
    if held:
        yield tuple(held)


def _ids(bite: Bite, told: Told) -> Array:
    with reading(bite), serve(bite) as served:
        ids = served.scan(["id"]).collect()["id"].drop_nulls().to_numpy()
    told(bite.rows)
    return ids


def set_against(a: Sorted, b: Sorted) -> Shared:
    """What two sides share. Of each, the ids that the other lacks are chosen."""
    found = Shared()
    with _Choice(a.stretches) as only_a, _Choice(b.stretches) as only_b:
        for ours, theirs in _ranges([s.ids for s in a.stretches], [s.ids for s in b.stretches]):
            ours_there, theirs_there = _within(ours.ids, theirs.ids), _within(theirs.ids, ours.ids)
            only_a.add(ours, ~ours_there)
            only_b.add(theirs, ~theirs_there)
            found = Shared(
                found.a + len(ours.ids),
                found.b + len(theirs.ids),
                found.both + int(ours_there.sum()),
            )
    return found


def look_up(wanted: Sequence[Path], side: Sorted) -> None:
    """Choose of a side's ids those that are wanted."""
    with _Choice(side.stretches) as choice:
        for ours, theirs in _ranges(wanted, [s.ids for s in side.stretches]):
            choice.add(theirs, _within(theirs.ids, ours.ids))


@dataclass(frozen=True)
class _Range:
    """A range of ids, ascending, each once; run: the number of the first run that has it."""

    ids: Array
    run: Array


def _ranges(left: Sequence[Path], right: Sequence[Path]) -> Iterator[tuple[_Range, _Range]]:
    for pieces in merged([*left, *right]):
        yield _firsts(pieces[: len(left)]), _firsts(pieces[len(left) :])


def _firsts(pieces: Sequence[Array]) -> _Range:
    import numpy as np

    runs = np.repeat(np.arange(len(pieces)), [len(piece) for piece in pieces])
    ids, first = np.unique(np.concatenate([np.empty(0, np.int64), *pieces]), return_index=True)
    return _Range(ids, runs[first])


def _within(ids: Array, others: Array) -> Array:
    """Which ids are among the others. Both ascending, each id once."""
    import numpy as np

    if not len(others):
        return np.zeros(len(ids), bool)
    found: Array = others[np.searchsorted(others, ids).clip(max=len(others) - 1)] == ids
    return found


class _Choice:
    """Writes chosen ids to their stretches, range by range."""

    def __init__(self, stretches: Sequence[Stretch]) -> None:
        self._stretches = stretches

    def __enter__(self) -> Self:
        for stretch in self._stretches:
            stretch.chosen.write_bytes(b"")
        return self

    def add(self, found: _Range, chosen: Array) -> None:
        """Those ids of a range. Ranges have to ascend."""
        import numpy as np

        ids, runs = found.ids[chosen], found.run[chosen]
        for run in np.unique(runs).tolist():
            with self._stretches[run].chosen.open("ab") as file:
                file.write(ids[runs == run].tobytes())

    def __exit__(self, *_: object) -> None:
        import numpy as np

        for stretch in self._stretches:
            np.save(stretch.chosen, np.fromfile(stretch.chosen, np.int64))


def ids_of(paths: Sequence[Path]) -> Iterator[Array]:
    """The ids in several files, ascending, some at a time."""
    import numpy as np

    for pieces in merged(paths):
        yield np.sort(np.concatenate(pieces))


def judge(side: Sorted, rules: Sequence[AnyRule], told: Told) -> Counts:
    """The rules asked of the chosen ids' rows, the first row of each. told: hears of rows read.

    Raises SchemaError, RuleError, SourceError.
    """
    counts = Counts.none(len(rules))
    for stretch in side.stretches:
        counts += _judge(stretch, rules, told)
    return counts


def _judge(stretch: Stretch, rules: Sequence[AnyRule], told: Told) -> Counts:
    import numpy as np
    import polars as pl

    wanted = np.load(stretch.chosen)
    found = np.zeros(len(wanted), bool)
    counts = Counts.none(len(rules))
    for bite in stretch.bites if len(wanted) else ():
        tests, read = tests_of(rules, bite.part)
        with reading(bite), serve(bite) as served:
            frame = served.scan(tuple(dict.fromkeys(["id", *read]))).collect()
            frame = frame.filter(pl.col("id").is_not_null())
            places, rows, _ = first_rows(wanted, found, frame["id"].to_numpy())
            found[places] = True
            row = frame[rows].select(counting(tests)).row(0, named=True) if rules else {}
        counts += counted(len(rows), row, len(rules))
        told(bite.rows)
    return counts
