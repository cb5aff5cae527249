"""stats: exact figures of every numeric column, and histograms for a later --top."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coyo_tools.machinery import engine, manifest
from coyo_tools.machinery.storage import Folder, folder_at
from coyo_tools.machinery.traffic import Fetched, Traffic, told_of_waits
from coyo_tools.pieces import source as sources
from coyo_tools.pieces.binding import type_name
from coyo_tools.pieces.bites import polars_types
from coyo_tools.pieces.exact_sum import ExactSum
from coyo_tools.pieces.held import Held
from coyo_tools.pieces.measures import Measure, is_measurable
from coyo_tools.pieces.quantiles import Tally, rank_of_share
from coyo_tools.pieces.sidecar import HISTOGRAMS, STATS, kept_place, packed
from coyo_tools.pieces.source import OpenPart, Source, SourceLike
from coyo_tools.stages.select import Look
from coyo_tools.verbs.passes import Passes
from coyo_tools.words.config import DEFAULT_SOURCE, StatsSettings, as_json
from coyo_tools.words.errors import RuleError, SchemaError, SettingsError
from coyo_tools.words.progress import Listener, silent
from coyo_tools.words.schema import COYO

QUANTILES = (1, 5, 10, 25, 50, 75, 90, 95, 99)
MOST_AT_ONCE = 4  # parts
KIND_NAMES = {"int": "int64", "f32": "float32", "f64": "float64"}


@dataclass(frozen=True)
class ColumnStats:
    """One column, exact. values: rows that have one; nulls and nan: those that have none.

    minimum, maximum, mean: None of no values; infinities are values. The mean is the exact one,
    rounded once to float64. quantiles: by hundredths, the smallest value that at least so many
    hundredths of the values do not exceed. order: the kind of its histogram.
    """

    name: str
    dtype: str
    values: int
    nulls: int
    nan: int
    minimum: float | None
    maximum: float | None
    mean: float | None
    quantiles: Mapping[str, float]
    order: str


@dataclass(frozen=True)
class StatsResult:
    """What `stats` found. out: the folder written, or None. notes: columns left out, and why.

    fetched: of a remote source.
    """

    source: str
    rows: int
    columns: tuple[ColumnStats, ...]
    notes: tuple[str, ...]
    out: str | None
    seconds: float
    fetched: Fetched | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for --json."""
        return dataclasses.asdict(self) | {"seconds": round(self.seconds, 3)}


def stats(
    source: SourceLike = DEFAULT_SOURCE,
    out: str | os.PathLike[str] | None = None,
    settings: StatsSettings | None = None,
    *,
    keep: bool = False,
    overwrite: bool = False,
    progress: Listener = silent,
) -> StatsResult:
    """Count, nulls, NaN, min, max, mean and quantiles of every numeric column but the id.

    All exact, in bounded memory: one pass, and further ones only into the bins in which a quantile
    of a full-precision column lies. out: a folder for stats.json and histograms.npz, with which
    `filter` finds a `top` over the same source without the first pass. keep: make that the folder
    where `filter` looks by itself: SOURCE.stats, and of a remote source one in the user's cache.

    Raises SourceError, SchemaError, SettingsError, SettingsConflict, StorageError.
    """
    started = time.monotonic()
    settings = settings or StatsSettings()
    traffic = Traffic()
    progress = told_of_waits(progress, traffic, "stats")
    found = sources.find(source, schema=settings.schema, traffic=traffic)
    found = found.first(settings.limit_files)
    place = None if out is None else os.fspath(out)
    if keep:
        place = _kept_place(found.url, place)
    told = stats_of(
        found, found.open_all(), settings, place, overwrite=overwrite, progress=progress
    )
    return dataclasses.replace(told, seconds=time.monotonic() - started)


def _kept_place(source: str, out: str | None) -> str:
    if out is not None:
        raise SettingsError(f"goes without -o {out}", where="--keep")
    place = kept_place(source)
    if place is None:
        raise SettingsError(
            "has no place of its own for stats", where=source, todo="name a folder with -o"
        )
    return place


def stats_of(
    found: Source,
    parts: Sequence[OpenPart],
    settings: StatsSettings,
    out: str | None,
    *,
    overwrite: bool = False,
    progress: Listener = silent,
) -> StatsResult:
    """`stats` of a source whose footers have been read. parts: those of `found`."""
    names, notes = _named(parts, settings.of) if settings.of else _columns(parts)
    notes = [*found.notes, *notes]
    job = _Job(parts, names, settings, progress)
    if out is None:
        columns, _ = job.run()
        return _told(_document(found.url, parts, columns, notes), None, found.fetched)
    folder = folder_at(out)
    found.keep_out(folder.url, [])
    with manifest.begin(
        folder,
        "stats",
        as_json(settings),
        [p.identity() for p in parts],
        overwrite=overwrite,
        reads=[p.part.url for p in parts],
    ) as run:
        run.also = found.facts
        if not run.done:
            columns, tallies = job.run()
            _write(folder, _document(found.url, parts, columns, notes), tallies)
            result = {"source": found.url, "rows": sum(part.rows for part in parts)}
            run.finish(result, [STATS, HISTOGRAMS], None)
        return _told(folder.read_json(STATS), folder.url, found.fetched)


def _named(parts: Sequence[OpenPart], of: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Columns and expressions that were asked for, with their types. Raises SchemaError."""
    names = [each.strip() for each in of]
    kinds: dict[str, str] = {}
    for part in parts:
        types = polars_types(part.schema)
        for name in names:
            try:
                kind = Measure(name).over(types, part.part.url).order.kind
            except RuleError as error:
                raise RuleError(error.what, where=f"--of {name!r}", todo=error.todo) from error
            own = type_name(part.schema.field(name).type) if name in types else KIND_NAMES[kind]
            kinds.setdefault(name, own)
    return kinds, []


def _columns(parts: Sequence[OpenPart]) -> tuple[dict[str, str], list[str]]:
    """Numeric columns that all parts have, with their types as read; and notes on the others."""
    if not parts:
        return {}, []
    kinds = [polars_types(part.schema) for part in parts]
    names = dict.fromkeys(n for k in kinds for n in k if n != "id" and is_measurable(k[n]))
    common = [n for n in names if all(n in k and is_measurable(k[n]) for k in kinds)]
    notes = [
        f"{n} is left out: not every part has it as a number" for n in names if n not in common
    ]
    if not common:
        raise SchemaError("has no numeric column", where=parts[0].part.url)
    return {n: type_name(parts[0].schema.field(n).type) for n in common}, notes


class _Job:
    """The passes over the parts."""

    def __init__(
        self,
        parts: Sequence[OpenPart],
        names: Mapping[str, str],
        settings: StatsSettings,
        progress: Listener,
    ) -> None:
        workers = settings.workers or min(MOST_AT_ONCE, engine.cores())
        self._names, self._parts = names, parts
        self._passes = functools.partial(Passes, "stats", workers=workers, progress=progress)

    def run(self) -> tuple[list[ColumnStats], list[Tally]]:
        """One pass over all columns, and those that quantiles still need.

        Columns that need more than one are fetched once all the same.
        """
        often = [name for name in self._names if not _few_values(name, self._names[name])]
        with tempfile.TemporaryDirectory(prefix="coyo-stats-") as scratch:
            held = Held(Path(scratch), often)
            return self._run(self._passes([part.holding(held) for part in self._parts]))

    def _run(self, passes: Passes) -> tuple[list[ColumnStats], list[Tally]]:
        what = Look(tuple(Measure(name) for name in self._names), raw=True)
        sums = [ExactSum() for _ in self._names]
        tallies = passes.tallies(
            what, "histograms", also=lambda number, seen: sums[number].add(seen.values)
        )
        searches = [
            {q: tally.search(rank_of_share(q, tally.values)) for q in QUANTILES if tally.values}
            for tally in tallies
        ]
        flat = [(number, s) for number, found in enumerate(searches) for s in found.values()]
        passes.narrow(what, flat, [tally.order for tally in tallies], "quantiles")
        columns = [
            _column(name, tally, total, {q: s.lo for q, s in found.items()}, self._names[name])
            for name, tally, total, found in zip(self._names, tallies, sums, searches, strict=True)
        ]
        return columns, tallies


def _few_values(name: str, dtype: str) -> bool:
    """Whether one pass tells all: a column of 65,536 values at most, or of small integers."""
    known = COYO.get(name)
    return dtype.startswith(("int", "uint")) or (known is not None and known.float16_valued)


def _column(
    name: str, tally: Tally, total: ExactSum, found: Mapping[int, int], dtype: str
) -> ColumnStats:
    value = tally.order.value
    return ColumnStats(
        name=name,
        dtype=dtype,
        values=tally.values,
        nulls=tally.nulls,
        nan=tally.nans,
        minimum=None if tally.least is None else value(tally.least),
        maximum=None if tally.greatest is None else value(tally.greatest),
        mean=total.mean(tally.values),
        quantiles={str(q): value(key) for q, key in found.items()},
        order=tally.order.kind,
    )


def _document(
    url: str, parts: Sequence[OpenPart], columns: Sequence[ColumnStats], notes: Sequence[str]
) -> dict[str, Any]:
    """What stats.json holds. Infinities and NaN are texts in it: JSON has no numbers for them."""
    return {
        "source": url,
        "rows": sum(part.rows for part in parts),
        "columns": [_texts(dataclasses.asdict(column)) for column in columns],
        "notes": list(notes),
    }


def _texts(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _texts(item) for key, item in value.items()}
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _numbers(item) for key, item in value.items()}
    with contextlib.suppress(KeyError, TypeError):
        return {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}[value]
    return value


def _write(folder: Folder, said: Mapping[str, Any], tallies: Sequence[Tally]) -> None:
    folder.write_bytes(HISTOGRAMS, packed(tallies))
    folder.write_json(STATS, said)


def _told(said: Mapping[str, Any], out: str | None, fetched: Fetched | None) -> StatsResult:
    columns = tuple(ColumnStats(**_numbers(column)) for column in said["columns"])
    notes = tuple(said["notes"])
    return StatsResult(said["source"], said["rows"], columns, notes, out, 0.0, fetched)
