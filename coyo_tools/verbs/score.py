"""`score`: recompute columns from pictures and captions."""

from __future__ import annotations

import math
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coyo_tools.machinery import engine
from coyo_tools.machinery.manifest import (
    Manifest,
    Run,
    begin,
    digest_of_ids,
    sha256_of,
    tool_versions,
)
from coyo_tools.machinery.storage import Folder, folder_at, local_path
from coyo_tools.pieces.dataset_objects import is_dataset
from coyo_tools.pieces.scores import scores_of, weights_cache
from coyo_tools.pieces.scores.base import Score, Weights, weights_of
from coyo_tools.pieces.scores.weights import check_file
from coyo_tools.pieces.shard_reader import Shard, find_shards
from coyo_tools.pieces.source import Part, SourceLike, find, open_part
from coyo_tools.stages.score import ScoreWork, Unit, output_name
from coyo_tools.words.config import ScoreSettings, as_json
from coyo_tools.words.errors import SettingsError, SourceError
from coyo_tools.words.progress import Listener, Progress, silent

if TYPE_CHECKING:
    import numpy as np

_SMALL_BYTES = 64_000_000  # of input that is scored before a process has started
_DEVICE = re.compile(r"auto|cpu|cuda|cuda:\d+")


@dataclass(frozen=True)
class ScoredColumn:
    """One column of the result. values: rows that have one. mean: None for text columns."""

    name: str
    values: int
    nulls: int
    mean: float | None


@dataclass(frozen=True)
class ScoreResult:
    """What `score` made. rows_now and seconds: of this run alone; errors: rows by class."""

    out: str
    input: str
    units: int
    rows: int
    errors: Mapping[str, int]
    columns: tuple[ScoredColumn, ...]
    rows_now: int
    seconds: float

    @property
    def rows_per_s(self) -> float | None:
        """Rows a second of this run, loading of models included; None where nothing was left."""
        return self.rows_now / self.seconds if self.rows_now and self.seconds else None

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for --json."""
        return asdict(self) | {"rows_per_s": self.rows_per_s}


def score(
    input: SourceLike,
    out: str | os.PathLike[str],
    settings: ScoreSettings | None = None,
    *,
    overwrite: bool = False,
    progress: Listener = silent,
) -> ScoreResult:
    """Recompute columns of a shard folder, or text columns of metadata.

    input: a folder of tar shards (this tool's or img2dataset's), one .tar, or any SOURCE of
    metadata. out: folder for one parquet a shard: id, key, the columns, error. A picture that
    does not decode is a row with an error class and nulls. Run again, it goes on with the shards
    that are missing. batch_size and device may move floats in their last digits.

    Raises SettingsError on a column that cannot be recomputed, MissingExtra, WeightsError,
    SourceError, SettingsConflict, StorageError.
    """
    settings = settings or ScoreSettings()
    started = time.monotonic()
    scores = scores_of(settings.columns)
    devices = devices_of(settings.device)
    overrides = overrides_of(settings.weights, scores)
    found = _units(input, settings, scores)
    weights = {n: _weights(w, overrides.get(n), progress) for n, w in weights_of(scores).items()}
    folder = folder_at(out)
    with begin(
        folder,
        "score",
        _identity(settings, weights),
        found.identities,
        versions=_versions(scores),
        overwrite=overwrite,
    ) as run:
        rows_now = 0
        if not run.done:
            work = _work(folder, settings, weights)
            rows_now = _compute(work, devices, settings, found.units, folder, progress)
            _finish(run, folder, found, settings.columns)
        return _result(run, found, rows_now, time.monotonic() - started)


def devices_of(setting: str) -> list[str]:
    """`cuda:0,cuda:1` as a list. Raises SettingsError."""
    names = [name.strip() for name in setting.split(",")]
    for name in names:
        if not _DEVICE.fullmatch(name) or (len(names) > 1 and name == "auto"):
            raise SettingsError(
                f"{name!r} is no device",
                where="--device",
                todo="use auto, cpu, cuda, or a list such as cuda:0,cuda:1",
            )
    return names


def overrides_of(given: Sequence[str], scores: Sequence[Score]) -> dict[str, Path]:
    """`COLUMN=PATH` settings as name in `weights_of` to path. Raises SettingsError."""
    takers = weights_of(scores)
    found = {}
    for item in given:
        column, equals, path = item.partition("=")
        if not equals or not path:
            raise SettingsError(f"{item!r} is not COLUMN=PATH", where="--weights")
        if column not in takers:
            raise SettingsError(
                f"{column!r} is no column of this run that has weights",
                where="--weights",
                todo=f"those are {', '.join(takers)}" if takers else "leave it out",
            )
        found[column] = local_path(path)
    return found


@dataclass(frozen=True)
class _Found:
    url: str
    units: Sequence[Unit]
    identities: list[dict[str, Any]]
    pictures: Mapping[str, Any] | None = None  # how `download` stored them, where it says so


def _units(place: SourceLike, settings: ScoreSettings, scores: Sequence[Score]) -> _Found:
    shards = None if is_dataset(place) else find_shards(place)
    if shards is not None:
        identities = [s.identity() for s in shards.shards]
        return _Found(shards.url, shards.shards, identities, _pictures(shards.manifest))
    source = find(place, schema=settings.schema)
    for needy in (s for s in scores if s.needs_shard):
        raise SourceError(
            f"is metadata, and {needy.columns[0].name} needs the pictures",
            where=source.url,
            todo=f"run first: coyo download {source.url} -o shards, then: coyo score shards",
        )
    parts = source.open_all()
    for part in parts:
        part.binding.in_file(["text"], part.part.url)  # before anything is written
    return _Found(source.url, source.parts, [part.identity() for part in parts])


def _pictures(manifest: Manifest | None) -> dict[str, Any] | None:
    if manifest is None or manifest.command != "download":
        return None
    return {name: manifest.settings.get(name) for name in ("resize", "image_size")}


@dataclass(frozen=True)
class _File:
    path: Path
    sha256: str


def _weights(weights: Weights, override: Path | None, progress: Listener) -> _File:
    """The weights on this machine, looked at. Raises WeightsError."""
    if override is not None:
        check_file(override, weights.formats)
        return _File(override, sha256_of(override))
    path = weights_cache.fetch(weights, progress)
    return _File(path, weights_cache.check(weights, path))


def _identity(settings: ScoreSettings, weights: Mapping[str, _File]) -> dict[str, Any]:
    """The settings as the manifest keeps them: weights by content, wherever the file lies."""
    digests = {name: f"sha256:{file.sha256}" for name, file in weights.items()}
    return as_json(settings) | {"weights": digests}


def _versions(scores: Sequence[Score]) -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = tool_versions()
    for name in (name for score in scores for name in score.distributions):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _work(folder: Folder, settings: ScoreSettings, weights: Mapping[str, _File]) -> ScoreWork:
    return ScoreWork(
        out=folder.url,
        columns=settings.columns,
        weights={name: str(file.path) for name, file in weights.items()},
        precision=settings.precision,
        batch_size=settings.batch_size,
        schema=settings.schema,
    )


def _compute(
    work: ScoreWork,
    devices: Sequence[str],
    settings: ScoreSettings,
    units: Sequence[Unit],
    folder: Folder,
    progress: Listener,
) -> int:
    """Score the units that are missing; the rows of this run."""
    there = set(folder.names())
    left = [unit for unit in units if output_name(unit) not in there]
    teller = _Teller(progress, len(units), len(units) - len(left), "shards")
    cores = settings.workers or engine.cores()
    for unit, rows in _run(work, devices, cores, left, teller.rows):
        teller.unit(unit, rows)
    return teller.total_rows


def _run(
    work: ScoreWork,
    devices: Sequence[str],
    cores: int,
    units: Sequence[Unit],
    on_event: Callable[[Any], None],
) -> Iterator[tuple[Unit, int]]:
    """A worker a device where models run; else as many processes as cores and units allow."""
    if not units:
        return
    if any(score.uses_device for score in scores_of(work.columns)):
        threads = max(1, cores // len(devices))
        works = [replace(work, device=device, threads=threads) for device in devices]
        yield from engine.run_each(works, units, on_event=on_event)
        return
    small = sum(unit.bytes for unit in units) < _SMALL_BYTES
    processes = 1 if small else min(cores, len(units))
    light = replace(work, threads=max(1, cores // processes))
    processes = 0 if processes == 1 else processes
    yield from engine.run(light, units, processes=processes, on_event=on_event)


class _Teller:
    """Turns what workers say into progress."""

    def __init__(self, progress: Listener, total: int, done: int, unit: str) -> None:
        self._progress, self._total, self._done, self._unit = progress, total, done, unit
        self._rows = 0
        self.total_rows = 0
        self._started = time.monotonic()

    def rows(self, number: int) -> None:
        """A batch is done."""
        self._rows += number
        self._tell()

    def unit(self, unit: Unit, rows: int) -> None:
        """A shard is done."""
        self._unit = "shards" if isinstance(unit, Shard) else "parts"
        self._done += 1
        self.total_rows += rows
        self._tell()

    def _tell(self) -> None:
        rate = self._rows / max(time.monotonic() - self._started, 1e-9)
        self._progress(
            Progress(
                "score",
                self._done,
                self._total,
                self._unit,
                f"{self._rows:,} rows, {rate:,.1f}/s",
                {"rows": self._rows},
            )
        )


def _finish(run: Run, folder: Folder, found: _Found, columns: Sequence[str]) -> None:
    names = [output_name(unit) for unit in found.units]
    with tempfile.TemporaryDirectory(prefix="coyo-") as scratch:
        tally = _Tally(columns, Path(scratch))
        for name in names:
            tally.take(folder.url_of(name), name)
        result = tally.result() | ({"pictures": found.pictures} if found.pictures else {})
        run.finish(result, names, digest_of_ids(tally.runs()))


class _Tally:
    """Counts over the finished files, read once, a row group at a time."""

    def __init__(self, columns: Sequence[str], scratch: Path) -> None:
        self._columns, self._scratch = columns, scratch
        self._rows = 0
        self._errors: dict[str, int] = {}
        self._values = dict.fromkeys(columns, 0)
        self._numbers = dict.fromkeys(columns, 0)  # values that are finite
        self._sums: dict[str, list[float]] = {}
        self._ids: list[Path] = []

    def take(self, url: str, name: str) -> None:
        """Count one file."""
        import numpy as np

        part = open_part(Part(url, name, 0), "coyo")
        ids = []
        for table in part.batches(["id", *self._columns, "error"]):
            self._rows += table.num_rows
            ids.append(table.column("id").drop_null().to_numpy())
            for found in table.column("error").drop_null().value_counts().to_pylist():
                self._errors[found["values"]] = (
                    self._errors.get(found["values"], 0) + found["counts"]
                )
            for column in self._columns:
                self._count(column, table.column(column).drop_null())
        self._keep(np.concatenate(ids) if ids else np.empty(0, np.int64))

    def _count(self, column: str, values: Any) -> None:
        import numpy as np
        import pyarrow as pa

        self._values[column] += len(values)
        if pa.types.is_floating(values.type) or pa.types.is_integer(values.type):
            numbers = values.to_numpy().astype(np.float64)
            numbers = numbers[np.isfinite(numbers)]
            self._sums.setdefault(column, []).append(float(numbers.sum()))
            self._numbers[column] += len(numbers)

    def _keep(self, ids: np.ndarray[Any, np.dtype[np.int64]]) -> None:
        """Ids go to the disk, sorted by file: a full data set of them would fill the memory."""
        import numpy as np

        path = self._scratch / f"{len(self._ids)}.npy"
        np.save(path, np.sort(ids))
        self._ids.append(path)

    def runs(self) -> list[np.ndarray[Any, Any]]:
        """The sorted ids of every file."""
        import numpy as np

        loaded: Iterable[Any] = (np.load(path) for path in self._ids)
        if self._rows > 1 << 22:
            loaded = (np.load(path, mmap_mode="r") for path in self._ids)
        return list(loaded)

    def result(self) -> dict[str, Any]:
        """The manifest's `result`."""
        return {
            "rows": self._rows,
            "errors": dict(sorted(self._errors.items())),
            "columns": {name: self._column(name) for name in self._columns},
        }

    def _column(self, name: str) -> dict[str, Any]:
        values = self._values[name]
        numbers = self._numbers[name]
        mean = math.fsum(self._sums[name]) / numbers if numbers else None
        return {"values": values, "nulls": self._rows - values, "mean": mean}


def _result(run: Run, found: _Found, rows_now: int, seconds: float) -> ScoreResult:
    result = run.manifest.result
    columns = tuple(
        ScoredColumn(name, c["values"], c["nulls"], c["mean"])
        for name, c in result["columns"].items()
    )
    return ScoreResult(
        out=run.folder.url,
        input=found.url,
        units=len(found.units),
        rows=result["rows"],
        errors=dict(result["errors"]),
        columns=columns,
        rows_now=rows_now,
        seconds=seconds,
    )
