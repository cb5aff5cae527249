"""diff: what two subsets share, and which rule made each difference."""

from __future__ import annotations

import dataclasses
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coyo_tools.machinery import manifest
from coyo_tools.machinery.manifest import Manifest, Run, digest_of_ids
from coyo_tools.machinery.refusals import difference_between
from coyo_tools.machinery.storage import Folder, folder_at, storage_errors
from coyo_tools.machinery.traffic import Fetched, Traffic, told_of_waits
from coyo_tools.pieces import source as sources
from coyo_tools.pieces.changes import Changes, changes_between, rules_in
from coyo_tools.pieces.funnel import Step, funnel, tests_of
from coyo_tools.pieces.rules import AnyRule
from coyo_tools.pieces.source import OpenPart, Source
from coyo_tools.stages import diff as stage
from coyo_tools.stages.diff import Sorted
from coyo_tools.words.config import DiffSettings, as_json
from coyo_tools.words.errors import CoyoError, RuleError, SchemaError, StorageError
from coyo_tools.words.progress import Listener, Progress, silent

_OF_THE_RUN = ("same", "out", "seconds", "fetched")  # what the manifest has no use for
FILES = ("only_a.parquet", "only_b.parquet")


@dataclass(frozen=True)
class DiffSide:
    """One of the two. command: that made it, None where no manifest says.

    rows: all; ids: different ones; repeated: rows beyond the first of an id; without_id: rows that
    cannot be compared. The last three are None where equal digests spared the reading.
    """

    place: str
    command: str | None
    digest: str | None
    rows: int
    ids: int | None
    repeated: int | None
    without_id: int | None


@dataclass(frozen=True)
class Missing:
    """The ids that one side has and the other lacks, and why the other lacks them.

    reasons: the other side's rules, in order, asked of these rows (of an id its first row):
    `dropped` by the first rule that drops them, `dropped_alone` by each rule alone; None where
    they could not be asked, and `note` says why. not_among_inputs: rows that no rule drops, since
    the other side never saw them. unexplained: rows that no rule drops although it saw them:
    their values have changed since. asked_in: whose values the rules were asked of.
    """

    ids: int
    reasons: tuple[Step, ...] | None = None
    not_among_inputs: int = 0
    unexplained: int = 0
    asked_in: str | None = None
    note: str = ""


@dataclass(frozen=True)
class Difference:
    """What `diff` found.

    both: ids that both have. jaccard: of the sets of ids, 1 of two empty ones. only_a, only_b: what
    the other side lacks. changes: how the runs that made them differ, None without two manifests.
    read: False where equal digests told enough. fetched: of remote sides and their sources.
    """

    a: DiffSide
    b: DiffSide
    both: int | None
    jaccard: float
    only_a: Missing
    only_b: Missing
    changes: Changes | None
    read: bool
    out: str | None = None
    seconds: float = 0.0
    fetched: Fetched | None = None

    @property
    def same(self) -> bool:
        """Whether both hold the same ids, in as many rows."""
        return self.only_a.ids == self.only_b.ids == 0 and self.a.rows == self.b.rows

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for --json."""
        return (
            {"same": self.same}
            | dataclasses.asdict(self)
            | {
                "seconds": round(self.seconds, 3),
                "fetched": self.fetched and self.fetched.to_dict(),
            }
        )


def diff(
    a: str | os.PathLike[str],
    b: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    settings: DiffSettings | None = None,
    *,
    overwrite: bool = False,
    progress: Listener = silent,
) -> Difference:
    """Say which ids two subsets share, and which rule of one dropped what only the other has.

    a, b: outputs of `filter`, or any metadata with ids. The rows that only A has are put to B's
    rules, with the cuts that its manifest records, and the other way round: with the values in A's
    files, or, where these lack a column, with those of the source that B was made of. out: a
    folder for only_a.parquet and only_b.parquet, the ids that the other side lacks, ascending.
    Memory is bounded; the ids are sorted on disk, 8 bytes each.

    Raises SourceError, SchemaError where there are no ids, SettingsError where `out` lies within a
    side, SettingsConflict, StorageError.
    """
    started = time.monotonic()
    settings = settings or DiffSettings()
    traffic = Traffic()
    progress = told_of_waits(progress, traffic, "diff")
    found = [sources.find(side, schema=settings.schema, traffic=traffic) for side in (a, b)]
    said = _found(found, out, settings, overwrite, progress)
    whole = sum(part.bytes for each in found for part in each.parts)
    return dataclasses.replace(
        said, seconds=time.monotonic() - started, fetched=traffic.fetched(of=whole)
    )


def _found(
    found: Sequence[Source],
    out: str | os.PathLike[str] | None,
    settings: DiffSettings,
    overwrite: bool,
    progress: Listener,
) -> Difference:
    """The difference, found now or by an earlier run into the same folder."""
    if out is None:
        with _Job(found, settings, progress) as job:
            return job.run()
    folder = folder_at(out)
    for side in found:
        sources.keep_apart(side.url, folder.url, FILES)
    inputs = [
        {"side": side} | part.identity()
        for side, each in zip("ab", found, strict=True)
        for part in each.open_all()
    ]
    reads = [part.url for each in found for part in each.parts]
    with manifest.begin(
        folder, "diff", as_json(settings), inputs, overwrite=overwrite, reads=reads
    ) as run:
        if not run.done:
            with _Job(found, settings, progress) as job:
                job.write(run, folder)
        return dataclasses.replace(_told(run.manifest.result), out=folder.url)


class _Job:
    """Both sides, their ids sorted in a temporary folder. Use as a context manager."""

    def __init__(self, found: Sequence[Source], settings: DiffSettings, progress: Listener) -> None:
        self._found, self._settings, self._progress = found, settings, progress
        self._sides: list[Sorted] = []

    def __enter__(self) -> _Job:
        self._temporary = tempfile.TemporaryDirectory(prefix="coyo-diff-")
        self._scratch = Path(self._temporary.name)
        return self

    def __exit__(self, *_: object) -> None:
        self._temporary.cleanup()

    def run(self) -> Difference:
        """The difference. Equal digests are believed, and nothing is read."""
        one, other = (each.manifest for each in self._found)
        changes = changes_between(one, other) if one and other else None
        if _one_digest(one, other):
            a, b = (_unread(each) for each in self._found)
            return Difference(a, b, None, 1.0, Missing(0), Missing(0), changes, read=False)
        parts = [each.open_all() for each in self._found]
        told = self._teller(parts[0] + parts[1], "ids")
        self._sides = [self._sorted(each, told) for each in parts]
        with storage_errors(str(self._scratch)):
            shared = stage.set_against(*self._sides)
        a, b = (
            _side(each, ids, count)
            for each, ids, count in zip(self._found, self._sides, (shared.a, shared.b), strict=True)
        )
        union = shared.a + shared.b - shared.both
        return Difference(
            a,
            b,
            shared.both,
            shared.both / union if union else 1.0,
            self._missing(0, shared.a - shared.both, parts[0]),
            self._missing(1, shared.b - shared.both, parts[1]),
            changes,
            read=True,
        )

    def _sorted(self, parts: Sequence[OpenPart], told: stage.Told) -> Sorted:
        with storage_errors(str(self._scratch)):
            scratch = tempfile.mkdtemp(dir=self._scratch)
        return stage.sort_ids(parts, Path(scratch), told)

    def _teller(self, parts: Sequence[OpenPart], note: str) -> stage.Told:
        total, done = sum(part.rows for part in parts), [0]

        def told(rows: int) -> None:
            done[0] += rows
            self._progress(Progress("diff", done[0], total, "rows", note))

        return told

    def _missing(self, side: int, ids: int, parts: Sequence[OpenPart]) -> Missing:
        """What only this side has, put to the other's rules."""
        made = self._found[1 - side].manifest
        if not ids:
            return Missing(0)
        if made is None:
            return Missing(ids, note="no manifest says by which rules it was made")
        try:
            rules = rules_in(made)
            if (lacking := _lacking(rules, parts)) is None:
                return self._asked_here(side, ids, rules, made, parts)
            return self._asked_in_source(side, ids, rules, made, lacking)
        except StorageError:  # of the temporary folder
            raise
        except CoyoError as error:
            return Missing(ids, note=str(error))

    def _asked_here(
        self,
        side: int,
        ids: int,
        rules: Sequence[AnyRule],
        made: Manifest,
        parts: Sequence[OpenPart],
    ) -> Missing:
        counts = stage.judge(self._sides[side], rules, self._teller(parts, "rules"))
        here = self._found[side].manifest
        seen = here is not None and list(here.inputs) == list(made.inputs)
        return Missing(
            ids,
            funnel(rules, counts, schema=""),
            0 if seen else counts.kept,
            counts.kept if seen else 0,
            self._found[side].url,
        )

    def _asked_in_source(
        self, side: int, ids: int, rules: Sequence[AnyRule], made: Manifest, why: CoyoError
    ) -> Missing:
        """With the values of what the other side was made of."""
        place = self._settings.source or made.result["source"]
        schema, limit = made.settings.get("schema", "auto"), made.settings.get("limit_files")
        try:
            parts = self._source(place, schema).first(limit).open_all()
        except CoyoError as error:
            raise RuleError(f"{why.where}: {why.what}; and {error}") from error
        side_ids = self._sorted(parts, self._teller(parts, "ids of the source"))
        with storage_errors(str(self._scratch)):
            stage.look_up(self._sides[side].chosen, side_ids)
        counts = stage.judge(side_ids, rules, self._teller(parts, "rules"))
        now = dataclasses.replace(made, inputs=[part.identity() for part in parts])
        changed = difference_between(made, now)
        return Missing(
            ids,
            funnel(rules, counts, schema=""),
            ids - counts.rows,
            counts.kept,
            place,
            f"{place} has changed since: {changed}" if changed else "",
        )

    def _source(self, place: str, schema: str) -> Source:
        return sources.find(place, schema=schema, traffic=self._found[0].traffic)

    def write(self, run: Run, folder: Folder) -> None:
        """Find the difference, write the ids that one side lacks, and finish the manifest."""
        found = self.run()
        chosen = [side.chosen for side in self._sides] or [[], []]
        for name, paths in zip(FILES, chosen, strict=True):
            _write_ids(folder, name, paths)
        said = {k: v for k, v in found.to_dict().items() if k not in _OF_THE_RUN}
        run.finish(said, FILES, digest_of_ids([*chosen[0], *chosen[1]]))


def _one_digest(a: Manifest | None, b: Manifest | None) -> bool:
    """Whether the manifests say that both hold the same ids: of filter, whose digest is over all
    rows of its parts."""
    if a is None or b is None or not a.command == b.command == "filter":
        return False
    return a.digest is not None and a.digest == b.digest


def _unread(found: Source) -> DiffSide:
    made = found.manifest
    assert made is not None
    rows = made.result["rows_out"]
    return DiffSide(found.url, made.command, made.digest, rows, None, None, None)


def _side(found: Source, ids: Sorted, count: int) -> DiffSide:
    made = found.manifest
    repeated = ids.rows - ids.without_id - count
    command, digest = (made.command, made.digest) if made else (None, None)
    return DiffSide(found.url, command, digest, ids.rows, count, repeated, ids.without_id)


def _lacking(rules: Sequence[AnyRule], parts: Sequence[OpenPart]) -> CoyoError | None:
    """Why some part cannot answer the rules; None where all can."""
    for part in parts:
        try:
            tests_of(rules, part)
        except (SchemaError, RuleError) as error:
            return error
    return None


def _write_ids(folder: Folder, name: str, paths: Sequence[Path]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([("id", pa.int64())])
    with folder.stage(name) as path, pq.ParquetWriter(path, schema, compression="zstd") as file:
        for ids in stage.ids_of(paths):
            file.write_table(pa.table([ids], schema=schema))


def _told(said: Mapping[str, Any]) -> Difference:
    """The result as the manifest has it."""
    changes = said["changes"] and Changes(**said["changes"])
    return Difference(
        DiffSide(**said["a"]),
        DiffSide(**said["b"]),
        said["both"],
        said["jaccard"],
        _missing(said["only_a"]),
        _missing(said["only_b"]),
        changes,
        said["read"],
    )


def _missing(said: Mapping[str, Any]) -> Missing:
    reasons = said["reasons"]
    steps = None if reasons is None else tuple(Step(**step) for step in reasons)
    return Missing(**{**said, "reasons": steps})
