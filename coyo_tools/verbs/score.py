"""`score`: recompute columns from pictures and captions."""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from coyo_tools.machinery.manifest import (
    Manifest,
    Run,
    begin,
    digest_of_ids,
    tool_versions,
)
from coyo_tools.machinery.storage import Folder, folder_at, local_path
from coyo_tools.pieces.dataset_objects import is_dataset
from coyo_tools.pieces.scores import choose, weights_cache
from coyo_tools.pieces.scores.base import Score, Weights, weights_of
from coyo_tools.pieces.scores.embeddings import kept_of
from coyo_tools.pieces.shard_reader import find_shards
from coyo_tools.pieces.source import (
    Part,
    SourceLike,
    find,
    keep_apart,
    open_part,
    refuse_same,
)
from coyo_tools.stages.embeddings import EmbeddingsPlace
from coyo_tools.stages.score import Scored, ScoreWork, Unit, output_name, stem_of
from coyo_tools.stages.score_difference import from_metadata
from coyo_tools.verbs.score_embeddings import Keeping, keeping
from coyo_tools.verbs.score_running import compute
from coyo_tools.verbs.score_tally import Tally
from coyo_tools.words.config import ScoreSettings, as_json
from coyo_tools.words.errors import SettingsError, SourceError, SourceNotFound
from coyo_tools.words.progress import Listener, silent

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
    """What `score` made. errors: rows by class. rows_now and seconds: of this run alone.

    seconds_by_column: of all threads and workers, by what they were spent on: "decode", and the
    columns, those together that share a model's embedding. embeddings: their folder; embedded: by
    encoder `rows`, `left_out` (without picture or caption) and `dimensions`. batch_sizes: of the
    scores that have a model, found or given, and halved where the device's memory ended; {} where
    nothing was left. precision_difference: by column of a model the `mean` and `largest` absolute
    difference from float32, full decoding and Pillow's resizing in the first `rows`, and how many
    rows `lost` their value by it; {} where that was the way. was_complete: nothing was left to do.
    has_tables: the input holds parquet, which `compare` takes.
    """

    out: str
    input: str
    units: int
    rows: int
    errors: Mapping[str, int]
    columns: tuple[ScoredColumn, ...]
    rows_now: int
    seconds: float
    seconds_by_column: Mapping[str, float] = field(default_factory=dict)
    embeddings: str | None = None
    embedded: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    batch_sizes: Mapping[str, int] = field(default_factory=dict)
    precision_difference: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    was_complete: bool = False
    has_tables: bool = True

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

    input: a folder or glob of tar shards (this tool's or img2dataset's), one .tar, or any SOURCE of
    metadata. out: folder for one parquet a shard: id, key, the columns, error. A picture that
    does not decode is a row with an error class and nulls. Run again, it goes on with the shards
    that are missing, one that was broken and is mended now among them. batch_size and device may
    move floats in their last digits.

    Raises SettingsError on a column that cannot be recomputed or an `out` in place of the input,
    MissingExtra, WeightsError, SourceError, SettingsConflict, StorageError.
    """
    settings = settings or ScoreSettings()
    started = time.monotonic()
    chosen = choose(settings.columns, settings.model, settings.pretrained)
    scores = chosen.scores
    devices = devices_of(settings.device)
    overrides = overrides_of(settings.weights, scores)
    if settings.embeddings is not None:
        kept_of(scores)  # so that it is said before anything is fetched
    _check_scaled(settings, scores)
    found, folder = _units(input, settings, scores), folder_at(out)
    _keep_apart(found, folder.url, settings.embeddings)
    weights = {n: _weights(w, overrides.get(n), progress) for n, w in weights_of(scores).items()}
    said, versions = _identity(settings, weights), _versions(scores)
    digests, inputs = said["weights"], found.identities
    reads = [unit.url for unit in found.units]
    makes = {unit.name: [output_name(unit)] for unit in found.units}
    with (
        begin(
            folder,
            "score",
            said,
            inputs,
            versions=versions,
            overwrite=overwrite,
            reads=reads,
            makes=makes,
        ) as run,
        keeping(settings, scores, digests, found.units, inputs, versions, overwrite) as kept,
    ):
        now, was_complete = Scored(0), run.done and (not kept or kept.run.done)
        if not was_complete:
            place = kept.place if kept else None
            work = _work(folder, settings, weights, found.units, place)
            left = _left(found.units, folder, kept)
            now = compute(work, devices, settings.workers, left, len(found.units), progress)
            _note_seconds(run, now)
        if not run.done:
            _finish(run, folder, found, chosen.columns)
        if kept and not kept.run.done:
            kept.finish([stem_of(unit) for unit in found.units])
        seconds = time.monotonic() - started
        made = _result(run, kept, found, now, seconds)
        return replace(made, was_complete=was_complete)


def _keep_apart(found: _Found, out: str, embeddings: str | None) -> None:
    """The scores and the embeddings each in a folder of its own. Raises SettingsError."""
    keep_apart(found.url, out, found.looks_like_input)
    if embeddings is not None:
        keep_apart(found.url, embeddings, found.looks_like_input, option="--embeddings")
        refuse_same("--embeddings", embeddings, out)


def _note_seconds(run: Run, now: Scored) -> None:
    run.also = lambda: {
        "seconds_by_column": now.seconds,
        "batch_sizes": now.batch_sizes,
    }


def _left(units: Sequence[Unit], folder: Folder, kept: Keeping | None) -> list[Unit]:
    """The units of which something is missing."""
    there = set(folder.names())
    return [u for u in units if output_name(u) not in there or (kept and kept.lacks(stem_of(u)))]


def _check_scaled(settings: ScoreSettings, scores: Sequence[Score]) -> None:
    if not settings.scaled_decoding:
        return
    for score in scores:
        if score.needs_image and score.encoder is None:
            raise SettingsError(
                f"{score.columns[0].name} wants every pixel",
                where="--scaled-decoding",
                todo="compute it in a run of its own, into another folder",
            )


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
    looks_like_input: Sequence[str] = ()  # of what is written, were it below the input
    pictures: Mapping[str, Any] | None = None  # how `download` stored them, where it says so
    has_tables: bool = True


def _units(place: SourceLike, settings: ScoreSettings, scores: Sequence[Score]) -> _Found:
    shards = None if is_dataset(place) else find_shards(place)
    if shards is not None:
        tables = shards.has_tables
        # Of shards that no manifest lists, all parquet below them is taken for what is stored.
        names = [output_name(s) for s in shards.shards] if tables and not shards.manifest else []
        identities = [s.identity() for s in shards.shards]
        return _Found(
            shards.url, shards.shards, identities, names, _pictures(shards.manifest), tables
        )
    try:
        source = find(place, schema=settings.schema)
    except SourceNotFound as error:
        what = error.what.replace("holds no parquet file", "holds neither tar shards nor parquet")
        todo = "name the folder that holds them" if what != error.what else error.todo
        raise SourceNotFound(what, where=error.where, todo=todo) from error
    for needy in (s for s in scores if s.needs_shard):
        raise SourceError(
            f"is metadata, and {needy.columns[0].name} needs the pictures",
            where=source.url,
            todo=f"run first: coyo download {source.url} -o shards, then: coyo score shards",
        )
    parts = source.open_all()
    for part in parts:
        part.binding.in_file(["text"], part.part.url)  # before anything is written
    listed = source.manifest is not None
    names = [] if listed else [part.name for part in source.parts]
    return _Found(source.url, source.parts, [part.identity() for part in parts], names)


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
        return _File(override, weights_cache.look_at(weights, override))
    path = weights_cache.fetch(weights, progress)
    return _File(path, weights_cache.check(weights, path))


def _identity(settings: ScoreSettings, weights: Mapping[str, _File]) -> dict[str, Any]:
    """The settings as the manifest keeps them: weights by content, wherever the file lies."""
    digests = {name: f"sha256:{file.sha256}" for name, file in weights.items()}
    said = as_json(settings) | {"weights": digests}
    unsaid = [name for name in ("model", "pretrained") if not said[name]]
    return {name: value for name, value in said.items() if name not in unsaid}


def _versions(scores: Sequence[Score]) -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = tool_versions()
    for name in (name for score in scores for name in score.distributions):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _work(
    folder: Folder,
    settings: ScoreSettings,
    weights: Mapping[str, _File],
    units: Sequence[Unit],
    embeddings: EmbeddingsPlace | None,
) -> ScoreWork:
    return ScoreWork(
        out=folder.url,
        columns=settings.columns,
        weights={name: str(file.path) for name, file in weights.items()},
        precision=settings.precision,
        batch_size=settings.batch_size if isinstance(settings.batch_size, int) else None,
        resize_on_device=settings.resize_on_device,
        scaled_decoding=settings.scaled_decoding,
        compiled=settings.compile,
        schema=settings.schema,
        decode_in=settings.decode_in,
        model=settings.model,
        pretrained=settings.pretrained,
        embeddings=embeddings,
        measured=output_name(units[0]) if settings.shortcuts and units else "",
    )


def _finish(run: Run, folder: Folder, found: _Found, columns: Sequence[str]) -> None:
    names = [output_name(unit) for unit in found.units]
    with tempfile.TemporaryDirectory(prefix="coyo-") as scratch:
        tally = Tally(columns, Path(scratch))
        for name in names:
            tally.take(folder.url_of(name), name)
        result = tally.result() | ({"pictures": found.pictures} if found.pictures else {})
        if said := _difference(folder, names):
            result["precision_difference"] = said
        run.finish(result, names, digest_of_ids(tally.runs()))


def _difference(folder: Folder, names: Sequence[str]) -> dict[str, Any]:
    """What the first file keeps of it."""
    if not names:
        return {}
    first = open_part(Part(folder.url_of(names[0]), names[0], 0), "coyo")
    return from_metadata(first.metadata.metadata)


def _result(
    run: Run, kept: Keeping | None, found: _Found, now: Scored, seconds: float
) -> ScoreResult:
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
        rows_now=now.rows,
        seconds=seconds,
        seconds_by_column=now.seconds,
        embeddings=kept.run.folder.url if kept else None,
        embedded=kept.run.manifest.result["encoders"] if kept else {},
        batch_sizes=now.batch_sizes,
        precision_difference=result.get("precision_difference", {}),
        has_tables=found.has_tables,
    )
