"""plan: what `filter` would keep and what fetching it would take; nothing is written."""

from __future__ import annotations

import dataclasses
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coyo_tools.machinery import engine
from coyo_tools.machinery.traffic import Fetched, Traffic, told_of_waits
from coyo_tools.pieces import expected
from coyo_tools.pieces import source as sources
from coyo_tools.pieces.census import Census, census_at, newest_census
from coyo_tools.pieces.clusters import Clusters, Estimate, drawn
from coyo_tools.pieces.columns import columns_to_write
from coyo_tools.pieces.distinct import Count, Distinct
from coyo_tools.pieces.expected import Disk, Download
from coyo_tools.pieces.funnel import Counts, Step, funnel, tests_of
from coyo_tools.pieces.held import Held
from coyo_tools.pieces.rules import AnyRule, rules_of
from coyo_tools.pieces.sampling import Amount
from coyo_tools.pieces.selections import Sample, Top, entries_of, needs_cut
from coyo_tools.pieces.source import OpenPart, Source, SourceLike
from coyo_tools.stages.plan import SIZES, Survey, Surveyed, survey
from coyo_tools.verbs.histograms import Histograms
from coyo_tools.verbs.passes import Passes, resolve
from coyo_tools.words.config import DEFAULT_SOURCE, FilterSettings, PlanSettings
from coyo_tools.words.progress import Listener, silent

if TYPE_CHECKING:
    from coyo_tools.pieces.quantiles import Tally

UNIQUES = ("url", "image_phash", "text")
MOST_AT_ONCE = 4  # parts
_Z = 1.96


@dataclass(frozen=True)
class PlanStep:
    """A rule's line. step: as `filter` would say it, of the files looked at. unique_kills: rows
    that this rule drops and every other keeps. whole: `dropped`, `dropped_alone`, `unique_kills`
    and `left` of the whole source."""

    step: Step
    unique_kills: int
    whole: Mapping[str, Estimate]

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        said = self.step.to_dict() | {"unique_kills": self.unique_kills}
        return said | {"whole": {name: each.to_dict() for name, each in self.whole.items()}}


@dataclass(frozen=True)
class KeptOfFile:
    """A file that was looked at: its rows, and those kept."""

    name: str
    rows: int
    kept: int

    @property
    def share(self) -> float:
        """Kept of the rows, 0 to 1; 0 of none."""
        return self.kept / self.rows if self.rows else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {"name": self.name, "rows": self.rows, "kept": self.kept, "share": self.share}


@dataclass(frozen=True)
class FilterPlan:
    """What `filter` would do with a source.

    files, rows: of the whole source. by_file: the files looked at, all or a sample. rows_in,
    rows_out: of these. kept: of the whole source, with its 95 % interval. unique: different values
    among the kept rows of the files looked at, by column. disk: None where it was not asked for or
    cannot be told. columns: that were read. notes: what else is worth telling. seconds: it took.
    fetched: of a remote source.
    """

    source: str
    schema: str
    files: int
    rows: int
    by_file: tuple[KeptOfFile, ...]
    rows_in: int
    rows_out: int
    kept: Estimate
    funnel: tuple[PlanStep, ...]
    unique: Mapping[str, Count]
    download: Download
    disk: Disk | None
    columns: tuple[str, ...]
    notes: tuple[str, ...]
    seconds: float
    fetched: Fetched | None = None

    @property
    def sampled(self) -> bool:
        """Whether only some of the files were looked at."""
        return len(self.by_file) < self.files

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for --json."""
        plain = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return plain | {
            "sampled": self.sampled,
            "by_file": [each.to_dict() for each in self.by_file],
            "kept": self.kept.to_dict(),
            "funnel": [step.to_dict() for step in self.funnel],
            "unique": {name: count.to_dict() for name, count in self.unique.items()},
            "download": self.download.to_dict(),
            "disk": self.disk and self.disk.to_dict(),
            "fetched": self.fetched and self.fetched.to_dict(),
            "seconds": round(self.seconds, 3),
        }


def plan(
    source: SourceLike = DEFAULT_SOURCE,
    settings: FilterSettings | None = None,
    wanted: PlanSettings | None = None,
    *,
    progress: Listener = silent,
    **rules: Any,
) -> FilterPlan:
    """Say what `filter` with the same arguments would keep, and what fetching it would take.

    Nothing is written, and no column read that is not needed: the rules' columns, and only of row
    groups in which something survives those that `wanted` asks for.

    source, settings, rules: as `filter` takes them. With `limit_files` that many files are drawn by
    a hash of their names, not the first ones, and every figure for the whole source is an estimate
    with a 95 % confidence interval. wanted: image size, census, and what to leave out.

    Raises SourceError, SchemaError, RuleError, SettingsError.
    """
    started = time.monotonic()
    settings, wanted = settings or FilterSettings(), wanted or PlanSettings()
    asked = rules_of([*settings.rules, *entries_of(rules)])
    traffic = Traffic()
    progress = told_of_waits(progress, traffic, "plan")
    found = sources.find(source, schema=settings.schema, traffic=traffic)
    census = census_at(wanted.census) if wanted.census else newest_census(found.url)
    parts = [part.believing(settings.statistics) for part in found.open_all()]
    columns_to_write(parts, settings.columns)  # what `filter` would refuse is refused here too
    for part in parts:
        tests_of(asked, part)
    job = _Job(parts, asked, settings, wanted)
    job.look(found, progress)
    return job.told(found, census, started)


@dataclass
class _Seen:
    """What was seen of a file so far."""

    counts: Counts
    unique_kills: list[int]
    sized: int = 0
    pixels: int = 0


class _Job:
    """The passes over the files, and what follows from them."""

    def __init__(
        self,
        parts: Sequence[OpenPart],
        rules: tuple[AnyRule, ...],
        settings: FilterSettings,
        wanted: PlanSettings,
    ) -> None:
        self._settings, self._wanted = settings, wanted
        names = [part.part.name for part in parts]
        limit = len(parts) if settings.limit_files is None else settings.limit_files
        self._parts = [parts[index] for index in drawn(names, limit)]
        rows = [part.rows for part in self._parts]
        self._clusters = Clusters(rows, len(parts), sum(part.rows for part in parts))
        self._schemas = {part.binding.schema for part in parts} or {"coyo"}
        self._notes: list[str] = []
        self._rules = tuple(self._scaled(rule) for rule in rules)
        self._distinct = {name: Distinct() for name in self._present(UNIQUES, wanted.uniques)}
        self._sizes = self._present(SIZES, wanted.disk)
        self._seen = {
            part.part.name: _Seen(Counts.none(len(rules)), [0] * len(rules)) for part in self._parts
        }

    def _scaled(self, rule: AnyRule) -> AnyRule:
        """A number of rows of the whole source as that of the sample."""
        if self._clusters.whole or not isinstance(rule, Top | Sample) or rule.amount.rows is None:
            return rule
        rows = max(1, math.floor(rule.amount.rows / self._clusters.factor + 0.5))
        self._notes.append(f"{rule.label}: {rows:,} rows of the files looked at stand for it")
        return dataclasses.replace(rule, amount=Amount(rows=rows))

    def _present(self, names: Sequence[str], asked: bool) -> tuple[str, ...]:
        """Those that every part has; width and height are of use together only."""
        if not asked:
            return ()
        lacking = [
            name for name in names if any(name not in p.binding.columns for p in self._parts)
        ]
        if lacking:
            self._notes.append(f"not every file has {', '.join(lacking)}: nothing is said of it")
        if names == SIZES and lacking:
            return ()
        return tuple(name for name in names if name not in lacking)

    def look(self, source: Source, progress: Listener) -> None:
        """Read what has to be read; what several passes need is fetched once."""
        with tempfile.TemporaryDirectory(prefix="coyo-plan-") as scratch:
            held = Held(Path(scratch)) if any(needs_cut(rule) for rule in self._rules) else None
            parts = [part.holding(held) for part in self._parts]
            workers = self._settings.workers or min(MOST_AT_ONCE, engine.cores())
            passes = Passes("plan", parts, workers, progress)
            self._rules = resolve(self._rules, passes, self._histograms(source))
            size = self._wanted.image_size if self._sizes else None
            what = Survey(self._rules, tuple(self._distinct), size)
            passes.each(lambda part, stopped: _surveyed(part, what, stopped), self._hear)

    def _histograms(self, source: Source) -> Callable[[str], Tally | None]:
        if not self._clusters.whole:
            if (place := self._settings.stats) is not None:
                self._notes.append(f"{place} is of no use here: it is of all files")
            return lambda _: None
        found = Histograms(source, self._parts, self._rules, self._settings, make=False)
        self._notes += found.notes
        return found

    def _hear(self, part: OpenPart, found: Surveyed) -> None:
        seen = self._seen[part.part.name]  # a part is read by one thread
        seen.counts += found.counts
        kills = zip(seen.unique_kills, found.unique_kills, strict=True)
        seen.unique_kills = [a + b for a, b in kills]
        seen.sized += found.sized
        seen.pixels += found.pixels
        for name, several in found.hashes.items():
            for each in several:
                self._distinct[name].add(each)

    def told(self, found: sources.Source, census: Census | None, started: float) -> FilterPlan:
        """The plan."""
        counts = sum((seen.counts for seen in self._seen.values()), Counts.none(len(self._rules)))
        schema = self._schemas.pop() if len(self._schemas) == 1 else "mixed"
        kept = self._whole(lambda seen: seen.counts.kept)
        unique = {name: each.count() for name, each in self._distinct.items()}
        urls = self._urls(unique.get("url"), counts.kept, kept)
        if census is not None and not census.is_of(found.url):
            self._notes.append(f"{census.place} is the census of {census.source}")
        return FilterPlan(
            source=found.url,
            schema=schema,
            files=self._clusters.files,
            rows=self._clusters.all_rows,
            by_file=tuple(
                KeptOfFile(name, seen.counts.rows, seen.counts.kept)
                for name, seen in self._seen.items()
            ),
            rows_in=counts.rows,
            rows_out=counts.kept,
            kept=kept,
            funnel=self._funnel(counts, schema),
            unique=unique,
            download=expected.download(urls, census),
            disk=self._disk(kept, census),
            columns=self._columns(),
            notes=tuple(self._notes),
            seconds=time.monotonic() - started,
            fetched=found.fetched,
        )

    def _whole(self, of: Callable[[_Seen], int]) -> Estimate:
        return self._clusters.rows_like([of(seen) for seen in self._seen.values()])

    def _funnel(self, counts: Counts, schema: str) -> tuple[PlanStep, ...]:
        steps = funnel(self._rules, counts, schema=schema)
        return tuple(self._step(number, step) for number, step in enumerate(steps))

    def _step(self, number: int, step: Step) -> PlanStep:
        def before(seen: _Seen) -> int:
            return seen.counts.left[number - 1] if number else seen.counts.rows

        whole = {
            "dropped": self._whole(lambda seen: before(seen) - seen.counts.left[number]),
            "dropped_alone": self._whole(lambda seen: seen.counts.rows - seen.counts.alone[number]),
            "unique_kills": self._whole(lambda seen: seen.unique_kills[number]),
            "left": self._whole(lambda seen: seen.counts.left[number]),
        }
        kills = sum(seen.unique_kills[number] for seen in self._seen.values())
        return PlanStep(step, kills, whole)

    def _urls(self, unique: Count | None, rows: int, kept: Estimate) -> Estimate:
        """Urls to fetch of the whole source. Files share urls, so that what one sample of them has
        is the least, and as much again for every such sample the most."""
        if unique is None or not (rows or self._clusters.whole):
            return kept
        error = _Z * unique.standard_error
        seen = Estimate(unique.values, unique.values * (1 - error), unique.values * (1 + error))
        if self._clusters.whole:
            return seen
        most = kept.times(Estimate.exactly(unique.values / rows))
        return Estimate(most.value, seen.low, most.high * (1 + error))

    def _disk(self, kept: Estimate, census: Census | None) -> Disk | None:
        if not self._sizes:
            return None
        pixels = self._clusters.total_like([_pixels(seen) for seen in self._seen.values()])
        return expected.disk(kept, pixels, self._wanted.image_size, census)

    def _columns(self) -> tuple[str, ...]:
        read = [name for part in self._parts for name in tests_of(self._rules, part)[1]]
        named = read if self._rules else []
        return tuple(dict.fromkeys([*named, *self._distinct, *self._sizes]))


def _surveyed(
    part: OpenPart, what: Survey, stopped: Callable[[], bool]
) -> Iterator[tuple[int, Surveyed]]:
    yield from survey(part, what, stopped)
    if part.held is not None:
        part.held.drop(part)


def _pixels(seen: _Seen) -> float:
    """Of a file's kept rows; those without a size count as the others do on average."""
    return seen.pixels * seen.counts.kept / seen.sized if seen.sized else 0.0
