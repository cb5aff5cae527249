"""`download`: fetch the images of a subset into tar shards."""

from __future__ import annotations

import dataclasses
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coyo_tools.machinery import engine
from coyo_tools.machinery.manifest import Manifest, Run, begin, digest_of_ids
from coyo_tools.machinery.sorted_runs import Spill
from coyo_tools.machinery.storage import Folder, folder_at
from coyo_tools.pieces import blocklist, img2dataset, placeholders, shards, source
from coyo_tools.pieces.shard_plan import Plan, Reader
from coyo_tools.stages.download import Download
from coyo_tools.stages.img2dataset import Img2dataset
from coyo_tools.stages.open_shard import ShardUnit
from coyo_tools.verbs.fetching import (
    Told,
    block_list,
    check_connections,
    repeats_of,
    versions,
)
from coyo_tools.verbs.placeholders import mark
from coyo_tools.words.config import DownloadSettings, as_json
from coyo_tools.words.failures import FAILURES
from coyo_tools.words.progress import Listener, silent

if TYPE_CHECKING:
    import numpy as np

_TARS, _TABLES = (".tar",), (".parquet", ".pq")


@dataclass(frozen=True)
class DownloadResult:
    """What a download came to.

    by_status: rows by success, failed_to_download and failed_to_resize. by_error: failed rows
    by class, most frequent first. bytes: of all tars. attempts: 1, and one more for each
    `retry_failed` that rewrote a shard. seconds: of this call. drift, placeholders: with
    `verify_phash`, pictures by what became of them, and those that many urls share: rows,
    pictures, and the hosts and hashes with most of them. table_bytes: of the files beside the tars
    that hold rows; None in a folder of an earlier version.
    """

    out: str
    rows: int
    successes: int
    by_status: Mapping[str, int]
    by_error: Mapping[str, int]
    shards: int
    bytes: int
    attempts: int
    seconds: float
    digest: str | None
    drift: Mapping[str, int] | None = None
    placeholders: Mapping[str, Any] | None = None
    table_bytes: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return dataclasses.asdict(self)


def download(
    subset: source.SourceLike,
    out: str | os.PathLike[str],
    settings: DownloadSettings | None = None,
    *,
    overwrite: bool = False,
    retry_failed: bool = False,
    progress: Listener = silent,
) -> DownloadResult:
    """Fetch every row's picture into WebDataset shards, as img2dataset lays them out.

    subset: parquet with a `url` column: what `filter` wrote, or any SOURCE. out: the folder to
    write, local or remote. Every row is in exactly one shard's parquet with what became of it;
    a row that fails is a value, not an error. Run again, it makes the shards that are missing.

    overwrite: start anew. retry_failed: fetch again the rows of finished shards that failed
    with a class worth retrying; the shards they are in are rewritten. Settings of the network
    (deadline, tries, User-Agent, limits of hosts) may differ from the run before; `runs.jsonl`
    has those of each run.

    Raises SourceError, SchemaError (no url, or an id twice), SettingsError (an `out` in place of
    the subset, more connections than open files are allowed), SettingsConflict, StorageError,
    NetworkError (gone for longer than is waited for); of the engine img2dataset also
    SettingsError (what it cannot do) and MissingExtra.
    """
    settings = settings or DownloadSettings()
    started = time.monotonic()
    if settings.engine == "img2dataset":
        img2dataset.check(settings)
    check_connections(settings)
    blocked, inputs = block_list(settings)
    found = source.find(subset, schema=settings.schema)
    folder = folder_at(out)
    found.keep_out(folder.url, [shards.parquet_name(0)])
    plan = Plan.of(found, settings.samples_per_shard, with_phash=settings.verify_phash)
    inputs = [part.identity() for part in plan.parts] + inputs
    reads = [part.part.url for part in plan.parts]
    wanted = as_json(settings)
    made_by = versions(settings.engine)
    with begin(
        folder,
        "download",
        wanted,
        inputs,
        versions=made_by,
        overwrite=overwrite,
        reads=reads,
    ) as run:
        every = as_json(settings, result_only=False)
        run.also = lambda: {"settings": {n: v for n, v in every.items() if n not in wanted}}
        if overwrite:
            _forget_rewritten(folder)
        if run.done and not _is_whole(folder, run.manifest):
            run.reopen()
        if run.done and not retry_failed:
            return _result(folder, run.manifest.result, run.manifest.digest, started)
        shards.recover(folder)
        there = shards.finished(folder)
        again = _worth_retrying(there) if retry_failed else {}
        if run.done and again:
            run.reopen()
        if not run.done:
            _make(plan, settings, folder, there, again, blocked, progress)
            _finish(run, folder, plan, marks=settings.verify_phash)
        return _result(folder, run.manifest.result, run.manifest.digest, started)


def _forget_rewritten(folder: Folder) -> None:
    for name in folder.names():
        if name.endswith(shards.NEXT) or name == placeholders.NAME:
            folder.delete(name)


def _is_whole(folder: Folder, found: Manifest) -> bool:
    """Whether a complete folder's files are as long as they were: by one listing, as shards may be
    many and far away."""
    said = found.result
    tars, tables = (_bytes_of(folder, found.files, each) for each in (_TARS, _TABLES))
    return bool(tars == said["bytes"] and tables == said.get("table_bytes", tables))


def _bytes_of(folder: Folder, names: Sequence[str], endings: tuple[str, ...]) -> int:
    """Of those of these files whose names end so, together."""
    sizes = folder.sizes()
    return sum(sizes.get(name, 0) for name in names if name.endswith(endings))


def _worth_retrying(there: Mapping[int, Mapping[str, Any]]) -> dict[int, int]:
    """Shards with rows worth another try, and which attempt that will be."""
    return {
        number: int(stats.get("attempts", 1)) + 1
        for number, stats in there.items()
        if _kept(stats) < stats["count"]
    }


def _kept(stats: Mapping[str, Any]) -> int:
    """Rows of a shard that are not worth another try."""
    errors: Mapping[str, int] = stats["errors"]
    worth_it = sum(n for error, n in errors.items() if error in FAILURES and FAILURES[error].retry)
    return int(stats["count"]) - worth_it


def _make(
    plan: Plan,
    settings: DownloadSettings,
    folder: Folder,
    there: Mapping[int, Mapping[str, Any]],
    again: Mapping[int, int],
    blocked: blocklist.BlockList,
    progress: Listener,
) -> None:
    """Make what is missing, on the engine."""
    missing = [number for number in range(plan.shards) if number not in there]
    todo = sorted({*missing, *again})
    if not todo:
        return
    repeats = repeats_of(plan, progress)
    kept = sum(_kept(there[number]) for number in again)
    told = Told("download", plan.rows_in(todo), progress, there=kept)
    told.tell()  # rates and time left are reckoned from here
    with tempfile.TemporaryDirectory(prefix="coyo-download-") as scratch:
        work, processes = _work(settings, folder.url, scratch, todo, blocked)
        units = _units(plan, todo, again, repeats)
        for _ in engine.run(work, units, processes=processes, on_event=told.hear):
            told.tell()
    told.end()


def _work(
    settings: DownloadSettings,
    out: str,
    scratch: str,
    todo: Sequence[int],
    blocked: blocklist.BlockList,
) -> tuple[Download | Img2dataset, int]:
    """The work, and how many processes it is given: img2dataset starts its own."""
    processes = min(settings.processes or engine.cores(), len(todo))
    if settings.engine == "img2dataset":
        return Img2dataset(settings, out, scratch, processes), 1
    threads = max(1, -(-engine.cores() // processes))
    work = Download(settings, out, scratch, frozenset(todo), blocked, threads, processes=processes)
    return work, processes


def _units(
    plan: Plan,
    todo: Sequence[int],
    again: Mapping[int, int],
    repeats: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]],
) -> Iterator[ShardUnit]:
    import numpy as np

    row, first = repeats
    with Reader(plan) as reader:
        for number in todo:
            start, end = plan.rows_of(number)
            a, b = np.searchsorted(row, [start, end])
            within = dict(zip((row[a:b] - start).tolist(), first[a:b].tolist(), strict=True))
            yield ShardUnit(
                number,
                start,
                reader.stream(start, end),
                within,
                again=number in again,
                attempt=again.get(number, 1),
            )


def _finish(run: Run, folder: Folder, plan: Plan, *, marks: bool) -> None:
    """Add up the shards' stats, mark placeholders, and write the manifest."""
    stats = shards.finished(folder)
    files = [
        name
        for number in sorted(stats)
        for name in (
            shards.tar_name(number),
            shards.parquet_name(number),
            shards.stats_name(number),
        )
    ]
    marked = mark(folder, sorted(stats)) if marks else {}
    files += [placeholders.NAME] if marks else []
    tables = {"table_bytes": _bytes_of(folder, files, _TABLES)}
    run.finish(_sum(stats, plan) | marked | tables, files, _digest(folder, sorted(stats)))


def _sum(stats: Mapping[int, Mapping[str, Any]], plan: Plan) -> dict[str, Any]:
    by_error: dict[str, int] = {}
    for one in stats.values():
        for error, count in one["errors"].items():
            by_error[error] = by_error.get(error, 0) + count
    by_status = {
        "success": sum(one["successes"] for one in stats.values()),
        "failed_to_download": sum(one["failed_to_download"] for one in stats.values()),
        "failed_to_resize": sum(one["failed_to_resize"] for one in stats.values()),
    }
    assert sum(by_status.values()) == plan.rows, (by_status, plan.rows)
    return {
        "rows": plan.rows,
        "successes": by_status["success"],
        "by_status": by_status,
        "by_error": dict(sorted(by_error.items(), key=lambda item: (-item[1], item[0]))),
        "shards": len(stats),
        "bytes": sum(
            size
            for one in stats.values()
            for name, size in one["files"].items()
            if name.endswith(".tar")
        ),
        "attempts": max((int(one.get("attempts", 1)) for one in stats.values()), default=1),
    }


def _digest(folder: Folder, numbers: Sequence[int]) -> str:
    """Over the ids of the successes."""
    with tempfile.TemporaryDirectory(prefix="coyo-digest-") as scratch:
        spill = Spill(Path(scratch))
        for number in numbers:
            spill.add(shards.success_ids(folder, number))
        return digest_of_ids(spill.runs())


def _result(
    folder: Folder, result: Mapping[str, Any], digest: str | None, started: float
) -> DownloadResult:
    return DownloadResult(
        out=folder.url, **result, seconds=time.monotonic() - started, digest=digest
    )
