"""filter: keep the rows that pass your rules, and say what each rule dropped."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import json
import os
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coyo_tools.machinery import allocator, engine, manifest
from coyo_tools.machinery.sorted_runs import Spill
from coyo_tools.machinery.storage import Folder, folder_at, is_remote, local_path
from coyo_tools.machinery.traffic import Fetched, Traffic, told_of_waits
from coyo_tools.pieces import source as sources
from coyo_tools.pieces.columns import columns_to_write
from coyo_tools.pieces.funnel import Counts, Step, funnel, tests_of
from coyo_tools.pieces.held import FOLDER as HELD
from coyo_tools.pieces.held import Held
from coyo_tools.pieces.rule_docs import rules_help
from coyo_tools.pieces.rules import AnyRule, notes_of, packages_of, rules_of
from coyo_tools.pieces.selections import cuts_of, entries_of, of_part
from coyo_tools.pieces.source import OpenPart, SourceLike
from coyo_tools.stages.filter import (
    Filter,
    Filtered,
    Hooks,
    Stopped,
    filter_part,
    filtered_before,
    has_large_groups,
)
from coyo_tools.verbs.histograms import Histograms
from coyo_tools.verbs.passes import Passes, resolve
from coyo_tools.words.config import DEFAULT_SOURCE, FilterSettings, as_json
from coyo_tools.words.progress import Listener, Progress, silent
from coyo_tools.words.schema import COYO

if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset

    from coyo_tools.machinery.manifest import Run

MOST_AT_ONCE = 4  # parts that are read; each holds a row group or two for every core
_SORTED_AT_ONCE = 1 << 21  # ids


@dataclass(frozen=True)
class Cast:
    """A column that was read as another type than the file's. parts: in how many."""

    column: str
    found: str
    read_as: str
    parts: int

    def __str__(self) -> str:
        noun = "part" if self.parts == 1 else "parts"
        return f"{self.column} is {self.found} in {self.parts} {noun}: read as {self.read_as}"


@dataclass(frozen=True)
class FilterResult:
    """What `filter` did.

    rows_in, rows_out: rows. parts: files written. bytes: of those files. funnel: a step each rule.
    digest: `sha256:...` over the sorted ids, None where the source has no column id. schema: whose
    column names the source has. casts: columns converted. seconds: of this run. complete_before:
    whether there was nothing left to do. notes: what else is worth telling of this run. fetched: by
    this run, of a remote source.
    """

    out: str
    rows_in: int
    rows_out: int
    parts: int
    bytes: int
    funnel: tuple[Step, ...]
    digest: str | None
    schema: str
    casts: tuple[Cast, ...]
    seconds: float
    complete_before: bool = False
    notes: tuple[str, ...] = ()
    fetched: Fetched | None = None

    @property
    def kept(self) -> float:
        """Share of the rows that were kept, 0 to 1; 0 of no rows."""
        return self.rows_out / self.rows_in if self.rows_in else 0.0

    def to_datasets(self, *, streaming: bool = False) -> Dataset | IterableDataset:
        """The rows that were kept, for `datasets`; see `coyo_tools.to_datasets`."""
        from coyo_tools.verbs.to_datasets import to_datasets

        return to_datasets(self.out, streaming=streaming)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for --json."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return fields | {
            "funnel": [step.to_dict() for step in self.funnel],
            "casts": [dataclasses.asdict(cast) for cast in self.casts],
            "fetched": self.fetched.to_dict() if self.fetched else None,
            "seconds": round(self.seconds, 3),
        }


def filter(
    source: SourceLike = DEFAULT_SOURCE,
    out: str | os.PathLike[str] = "subset",
    settings: FilterSettings | None = None,
    *,
    overwrite: bool = False,
    progress: Listener = silent,
    **rules: Any,
) -> FilterResult:
    """Keep the rows of `source` that pass every rule; write them to the folder `out`.

    source: parquet metadata: a folder, file or glob, `hf://`, `s3://`, `gs://`, `https://`, what
    an earlier command wrote, or a Dataset or IterableDataset of the `datasets` library.
    out: a folder, local or remote; one parquet per input part under its name, row order kept.
    settings: rules, columns, limit_files, schema, stats. rules: further rules by name, applied in
    the order written after those of `settings`, such as `min_clip_l14=0.25`,
    `where=["num_faces = 0"]` or `top="30%", by="clip_similarity_vitl14"`; all of them below.
    overwrite: start anew in a folder this tool wrote. progress: hears of every bite.

    Run again, it finishes the parts that are missing. Raises SourceError, SchemaError, RuleError,
    SettingsConflict, StorageError and the other errors of `coyo_tools.words.errors`.
    """
    started = time.monotonic()
    asked = rules_of([*(settings or FilterSettings()).rules, *entries_of(rules)])
    settings = dataclasses.replace(
        settings or FilterSettings(), rules=tuple(rule.as_recipe() for rule in asked)
    )
    traffic = Traffic()
    progress = told_of_waits(progress, traffic, "filter")
    found = sources.find(source, schema=settings.schema, traffic=traffic)
    found = found.first(settings.limit_files)
    folder = folder_at(out)
    sources.keep_apart(found.url, folder.url, [part.name for part in found.parts])
    if settings.stats is not None:
        sources.refuse_same("--stats", settings.stats, folder.url)
    held = None if is_remote(folder.url) else Held(local_path(folder.url) / HELD)
    parts = [part.holding(held).believing(settings.statistics) for part in found.open_all()]
    if any(has_large_groups(part) for part in parts):
        allocator.expect_large_blocks()
    columns = columns_to_write(parts, settings.columns)
    for part in parts:
        tests_of(asked, part)  # every part must be able to answer every rule before one is written
    histograms = Histograms(found, parts, asked, settings, progress=progress)
    job = _Job(found.url, parts, asked, columns, settings, histograms)
    with manifest.begin(
        folder,
        "filter",
        as_json(settings),
        [p.identity() for p in parts],
        versions=manifest.tool_versions(*packages_of(asked)),
        overwrite=overwrite,
        reads=[part.url for part in found.parts],
    ) as run:
        run.also = found.facts
        names = {part.part.name for part in parts}
        before = run.done and names <= set(folder.names())
        if not before:
            job.run(run, folder, progress)
            if held is not None:
                held.clear()
        told = _told(run, folder, time.monotonic() - started, complete_before=before)
        of_run = () if before else histograms.notes
        notes = (*found.notes, *of_run, *notes_of(asked), *told.notes)
        return dataclasses.replace(told, notes=notes, fetched=found.fetched)


filter.__doc__ = f"{inspect.cleandoc(filter.__doc__ or '')}\n\nRules:\n\n{rules_help()}"


class _Job:
    """The parts that are missing, filtered several at a time; then the manifest."""

    def __init__(
        self,
        source: str,
        parts: Sequence[OpenPart],
        rules: tuple[AnyRule, ...],
        columns: tuple[str, ...],
        settings: FilterSettings,
        histograms: Histograms,
    ) -> None:
        self._source, self._histograms = source, histograms
        self._parts, self._rules, self._columns = parts, rules, columns
        self._settings = settings
        self._ids = all("id" in part.binding.columns for part in parts)
        # polars decodes a part on every core; what it leaves idle, the next part's start takes.
        self._workers = settings.workers or max(1, min(MOST_AT_ONCE, engine.cores() // 2))

    def run(self, run: Run, folder: Folder, progress: Listener) -> None:
        """Filter what is missing into the folder and finish the manifest."""
        counters = self._settings.workers or min(MOST_AT_ONCE, engine.cores())
        passes = Passes("filter", self._parts, counters, progress)
        self._rules = resolve(self._rules, passes, self._histograms)
        with tempfile.TemporaryDirectory(prefix="coyo-filter-") as scratch:
            done: dict[str, Filtered] = {}
            missing = []
            for part in self._parts:
                before = filtered_before(part, self._filter(part), folder, Path(scratch))
                if before is None:
                    missing.append(part)
                else:
                    done[part.part.name] = before
            work = _Work(self._filter, folder, Path(scratch), self._workers)
            hear = _Rows(progress, self._parts, done)
            for part, filtered in engine.run(work, missing, processes=0, on_event=hear):
                done[part.part.name] = filtered
                if part.held is not None:
                    part.held.drop(part)
            self._finish(run, [done[part.part.name] for part in self._parts], Path(scratch))

    def _filter(self, part: OpenPart) -> Filter:
        rules = tuple(of_part(rule, part.part.name) for rule in self._rules)
        said = {
            "rules": [rule.as_recipe() for rule in rules],
            "columns": list(self._columns),
            "input": part.identity(),
        }
        if cuts := cuts_of(rules):  # they depend on every part, if not of each part
            said["cuts"] = cuts
        fingerprint = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
        return Filter(rules, self._columns, fingerprint, self._ids)

    def _finish(self, run: Run, done: Sequence[Filtered], scratch: Path) -> None:
        counts = sum((each.counts for each in done), Counts.none(len(self._rules)))
        schemas = {part.binding.schema for part in self._parts} or {"coyo"}
        schema = schemas.pop() if len(schemas) == 1 else "mixed"
        steps = funnel(self._rules, counts, schema=schema)
        ids = self._ids_of(done, scratch)
        run.finish(
            {
                "source": self._source,
                "rows_in": counts.rows,
                "rows_out": counts.kept,
                "bytes_out": sum(each.bytes for each in done),
                "funnel": [step.to_dict() for step in steps],
                "recipe": [rule.as_recipe() for rule in self._rules],
                **({"cuts": cuts} if (cuts := cuts_of(self._rules)) else {}),
                **({"ids_repeated": ids.repeated} if ids and ids.repeated else {}),
                "schema": schema,
                "casts": [dataclasses.asdict(cast) for cast in _casts(self._parts, self._columns)],
            },
            [part.part.name for part in self._parts],
            ids.digest if ids else None,
        )

    def _ids_of(self, done: Sequence[Filtered], scratch: Path) -> manifest.Ids | None:
        import numpy as np

        if not self._ids:
            return None
        apart = scratch / "sorted"  # where no part's ids are, whatever its name
        apart.mkdir()
        spill = Spill(apart, _SORTED_AT_ONCE)
        for each in done:
            if each.ids:
                spill.add(np.load(each.ids))
        return manifest.ids_of(spill.runs())


def _casts(parts: Sequence[OpenPart], columns: Sequence[str]) -> list[Cast]:
    found = Counter(
        (name, dtype)
        for part in parts
        for name, dtype in part.binding.casts.items()
        if name in columns
    )
    return [Cast(name, dtype, COYO[name].dtype, times) for (name, dtype), times in found.items()]


class _Work:
    """Filters several parts at once, in threads: polars works outside the GIL.

    Another part is begun when the last rows of an earlier one have been decoded, while they are
    written; or sooner, where few rows pass. That keeps the cores busy for little more memory than
    one part takes.
    """

    def __init__(
        self, what: Callable[[OpenPart], Filter], folder: Folder, scratch: Path, workers: int
    ) -> None:
        self._what, self._folder, self._scratch, self._workers = what, folder, scratch, workers
        self._stop = threading.Event()

    def __call__(
        self, units: Iterator[OpenPart], emit: engine.Emit
    ) -> Iterable[tuple[OpenPart, Filtered]]:
        running: dict[Future[Filtered], OpenPart] = {}
        free = threading.Semaphore(self._workers)  # of parts that leave no room for another
        with ThreadPoolExecutor(2 * self._workers) as pool:
            try:
                for part in units:
                    free.acquire()
                    yield from _finished(running, timeout_s=0)
                    running[pool.submit(self._one, part, emit, _Once(free.release))] = part
                while running:
                    yield from _finished(running)
            finally:
                self._stop.set()  # where a part failed, or nobody wants the rest

    def _one(self, part: OpenPart, emit: engine.Emit, room: Callable[[], None]) -> Filtered:
        hooks = Hooks(on_rows=emit, on_room=room, stopped=self._stop.is_set)
        try:
            return filter_part(part, self._what(part), self._folder, self._scratch, hooks)
        finally:
            room()  # also of an empty part, and of one that failed


class _Once:
    """Calls what it was given the first time it is called, and not again."""

    def __init__(self, what: Callable[[], None]) -> None:
        self._what, self._lock, self._done = what, threading.Lock(), False

    def __call__(self) -> None:
        with self._lock:
            done, self._done = self._done, True
        if not done:
            self._what()


def _finished(
    running: dict[Future[Filtered], OpenPart], timeout_s: float | None = None
) -> Iterator[tuple[OpenPart, Filtered]]:
    """Wait for one or more, and yield them. Raises what they raised."""
    for future in wait(running, timeout_s, return_when=FIRST_COMPLETED).done:
        part = running.pop(future)
        try:
            yield part, future.result()
        except Stopped:  # only after another part's error, which is on its way
            continue


class _Rows:
    """Adds up the rows that the parts report, and tells the listener."""

    def __init__(
        self, progress: Listener, parts: Sequence[OpenPart], done: Mapping[str, Filtered]
    ) -> None:
        self._progress, self._lock = progress, threading.Lock()
        self._total = sum(part.rows for part in parts)
        self._rows = sum(filtered.counts.rows for filtered in done.values())

    def __call__(self, rows: int) -> None:
        with self._lock:
            self._rows += rows
            self._progress(Progress("filter", self._rows, self._total, "rows"))


def _told(run: Run, folder: Folder, seconds: float, *, complete_before: bool) -> FilterResult:
    """The result as the manifest has it."""
    said = run.manifest.result
    repeated = said.get("ids_repeated", 0)
    return FilterResult(
        out=folder.url,
        rows_in=said["rows_in"],
        rows_out=said["rows_out"],
        parts=len(run.manifest.files),
        bytes=said["bytes_out"],
        funnel=tuple(Step(**step) for step in said["funnel"]),
        digest=run.manifest.digest,
        schema=said["schema"],
        casts=tuple(Cast(**cast) for cast in said["casts"]),
        seconds=seconds,
        complete_before=complete_before,
        notes=(f"ids that repeat among the rows kept: {repeated:,}",) if repeated else (),
    )
