"""`census`: ask some urls of a subset, and say what fetching all of them would come to."""

from __future__ import annotations

import dataclasses
import math
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coyo_tools.machinery import engine
from coyo_tools.machinery.manifest import begin, digest_of_ids
from coyo_tools.machinery.parquet import read_table
from coyo_tools.machinery.storage import Folder, filesystem, folder_at
from coyo_tools.pieces import census_figures, expected, rows, sampling, shards
from coyo_tools.pieces import source as sources
from coyo_tools.pieces.blocklist import BlockList
from coyo_tools.pieces.census import CENSUS, FORMAT, Census
from coyo_tools.pieces.census_figures import Figures
from coyo_tools.pieces.census_parts import ROWS_A_PART
from coyo_tools.pieces.clusters import Estimate
from coyo_tools.pieces.hosts import host_of
from coyo_tools.pieces.shard_plan import Plan, as_stream
from coyo_tools.stages.download import Download
from coyo_tools.stages.open_shard import ShardUnit
from coyo_tools.verbs.fetching import (
    Told,
    block_list,
    check_connections,
    repeats_of,
    versions,
)
from coyo_tools.words.config import CensusSettings, DownloadSettings, as_json
from coyo_tools.words.errors import SourceError
from coyo_tools.words.progress import Listener, silent

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

COMMAND = "download --census"


@dataclass(frozen=True)
class CensusResult:
    """What a census found.

    out: its folder. rows, different_urls: of the whole subset. figures: of the urls asked.
    expected: fetching each different url once. disk: bytes of the shards of all rows. seconds: of
    fetching.
    """

    out: str
    source: str
    rows: int
    different_urls: int
    figures: Figures
    expected: expected.Download
    disk: Estimate

    def to_dict(self) -> dict[str, Any]:
        """Plain data: what census.json holds."""
        found = self.figures
        fields = {f.name: getattr(found, f.name) for f in dataclasses.fields(found)}
        scores = {name: [cell.to_dict() for cell in of] for name, of in found.by_score.items()}
        total = self.expected.to_dict() | {"disk": self.disk.to_dict()}
        del total["census"]
        return (
            {"coyo_census": FORMAT, "source": self.source}
            | {name: v.to_dict() if isinstance(v, Estimate) else v for name, v in fields.items()}
            | {"hosts": [host.to_dict() for host in found.hosts], "by_score": scores}
            | {"rows": self.rows, "different_urls": self.different_urls}
            | {"expected": {name: _finite(figure) for name, figure in total.items()}}
        )


def _finite(figure: Mapping[str, float] | None) -> dict[str, float | None] | None:
    """Null for a bound that is not finite: JSON has no such number."""
    if figure is None:
        return None
    return {name: value if math.isfinite(value) else None for name, value in figure.items()}


def census(
    subset: sources.SourceLike,
    out: str | os.PathLike[str],
    wanted: CensusSettings | None = None,
    settings: DownloadSettings | None = None,
    *,
    overwrite: bool = False,
    progress: Listener = silent,
) -> CensusResult:
    """Ask some of a subset's different urls, drawn at random, and reckon with what came.

    subset: as `download` takes it. out: the folder to write: census.json, which `plan` reads, and
    one row for each url asked; no picture. wanted: how many urls, and the seed. settings: as a
    download would have them; the urls are fetched, decoded and encoded as it does, with the same
    limits and opt-outs.

    Of each different url the first row counts, and those with the smallest h(id, seed) are asked.
    Run again, it asks the urls that are missing.

    Raises SourceError, SchemaError (no url, or an id twice), SettingsError (an `out` in place of
    the subset, more connections than open files are allowed), SettingsConflict, StorageError,
    NetworkError (gone for longer than is waited for).
    """
    wanted = wanted or CensusSettings()
    settings = dataclasses.replace(settings or DownloadSettings(), samples_per_shard=ROWS_A_PART)
    check_connections(settings)
    blocked, inputs = block_list(settings)
    found = sources.find(subset, schema=settings.schema)
    plan = Plan.of(found, ROWS_A_PART, with_phash=settings.verify_phash)
    if not plan.rows:
        raise SourceError("has no row whose url could be asked", where=found.url)
    inputs = [part.identity() for part in plan.parts] + inputs
    folder = folder_at(out)
    found.keep_out(folder.url, [shards.parquet_name(0)])
    reads = [part.part.url for part in plan.parts]
    said = as_json(settings) | {"census": as_json(wanted)}
    del said["samples_per_shard"]
    with begin(
        folder,
        COMMAND,
        said,
        inputs,
        versions=versions(),
        overwrite=overwrite,
        reads=reads,
    ) as run:
        if run.done and len(shards.finished(folder)) < _parts_of(run.manifest.files):
            run.reopen()  # a part is not as long as it was
        if not run.done:
            again, _ = repeats_of(plan, progress)
            asked = _asked(plan, drawn(plan, again, wanted))
            _ask(asked, settings, folder, blocked, progress)
            different = plan.rows - len(again)
        else:
            different = int(run.manifest.result["different_urls"])
        numbers = sorted(shards.finished(folder))
        result = _result(folder, found.url, plan.rows, different, numbers)
        if not run.done:
            folder.write_json(CENSUS, result.to_dict())
            names = [n(i) for i in numbers for n in (shards.parquet_name, shards.stats_name)]
            run.finish(_counts(result), [CENSUS, *names], _digest(asked))
        return result


def _parts_of(files: Sequence[str]) -> int:
    return sum(name.endswith(".parquet") for name in files)


def drawn(plan: Plan, again: np.ndarray[Any, Any], wanted: CensusSettings) -> np.ndarray[Any, Any]:
    """Numbers of the rows to ask, ascending. again: rows whose url an earlier one has, ascending.
    Without an id the row's number stands for it."""
    import numpy as np

    best = np.empty(0, np.uint64)
    kept = np.empty(0, np.int64)
    for at, group in enumerate(plan.groups):
        number = np.arange(group.first_row, group.first_row + group.rows)
        ids = plan.read(at, ["id"]).column("id").to_numpy() if "id" in plan.columns else number
        first, end = np.searchsorted(again, [group.first_row, group.first_row + group.rows])
        is_first = np.ones(group.rows, bool)
        is_first[again[first:end] - group.first_row] = False
        best = np.concatenate([best, sampling.hashes(ids[is_first], wanted.seed)])
        kept = np.concatenate([kept, number[is_first]])
        if len(best) > wanted.urls:
            smallest = np.argpartition(best, wanted.urls - 1)[: wanted.urls]
            best, kept = best[smallest], kept[smallest]
    return np.sort(kept)


def _asked(plan: Plan, chosen: np.ndarray[Any, Any]) -> pa.Table:
    """These rows, under a shard's column names."""
    import numpy as np
    import pyarrow as pa

    tables: list[pa.Table] = []
    for at, group in enumerate(plan.groups):
        first, end = np.searchsorted(chosen, [group.first_row, group.first_row + group.rows])
        if first == end:
            continue
        shaped = rows.to_shard_columns(plan.read_all(at), plan.columns, group.first_row)
        tables.append(shaped.take(pa.array(chosen[first:end] - group.first_row)))
    for part in plan.parts:
        part.close()
    return pa.concat_tables(tables).combine_chunks()


def _ask(
    asked: pa.Table,
    settings: DownloadSettings,
    folder: Folder,
    blocked: BlockList,
    progress: Listener,
) -> None:
    """Fetch what no part holds yet, on the engine."""
    there = shards.finished(folder)
    todo = [n for n in range(-(-asked.num_rows // ROWS_A_PART)) if n not in there]
    if not todo:
        return
    processes = min(settings.processes or engine.cores(), len(todo))
    told = Told("census", sum(len(_piece(asked, number)) for number in todo), progress)
    with tempfile.TemporaryDirectory(prefix="coyo-census-") as scratch:
        threads = max(1, -(-engine.cores() // processes))
        work = Download(
            settings,
            folder.url,
            scratch,
            frozenset(todo),
            blocked,
            threads,
            census=True,
            processes=processes,
        )
        for _ in engine.run(work, _units(asked, todo), processes=processes, on_event=told.hear):
            told.tell()
    told.end()


def _piece(asked: pa.Table, number: int) -> pa.Table:
    return asked.slice(number * ROWS_A_PART, ROWS_A_PART)


def _units(asked: pa.Table, todo: Sequence[int]) -> Iterator[ShardUnit]:
    for number in todo:
        yield ShardUnit(number, number * ROWS_A_PART, as_stream(_piece(asked, number)))


def _result(
    folder: Folder, source: str, all_rows: int, different: int, numbers: Sequence[int]
) -> CensusResult:
    stats = shards.finished(folder)
    spans = [(stats[n]["start_time"], stats[n]["end_time"]) for n in numbers]
    table = _answers(folder, numbers)
    hosts = [host_of(url) for url in table.column("url").to_pylist()]
    found = census_figures.figures(table, hosts, spans)
    read = Census(
        folder.url_of(CENSUS), source, found.urls, found.alive, found.bytes_per_image,
        found.images_per_s,
    )  # fmt: skip
    each = found.stored_bytes_per_image.plus(Estimate.exactly(expected.BYTES_BESIDE))
    return CensusResult(
        out=folder.url,
        source=source,
        rows=all_rows,
        different_urls=different,
        figures=found,
        expected=expected.download(Estimate.exactly(different), read),
        disk=Estimate.exactly(all_rows).times(found.alive).times(each),
    )


def _answers(folder: Folder, numbers: Sequence[int]) -> pa.Table:
    """Every part's rows, in order."""
    import pyarrow as pa

    tables = []
    for number in numbers:
        fs, path = filesystem(folder.url_of(shards.parquet_name(number)))
        with fs.open(path, "rb") as handle:
            tables.append(read_table(handle)[0])
    return pa.concat_tables(tables)


def _counts(result: CensusResult) -> Mapping[str, Any]:
    """What the manifest says: no times, which differ from run to run."""
    found = result.figures
    return {
        "source": result.source,
        "rows": result.rows,
        "different_urls": result.different_urls,
        "urls": found.urls,
        "alive": found.alive.to_dict(),
        "outcomes": found.outcomes,
    } | ({"drift": found.drift} if found.drift is not None else {})


def _digest(asked: pa.Table) -> str:
    """Over the ids of the rows that were asked."""
    import numpy as np

    return digest_of_ids([np.sort(asked.column("id").to_numpy())])
