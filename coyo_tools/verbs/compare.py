"""`compare`: recomputed columns against the stored ones, joined on id."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from coyo_tools.machinery.manifest import Manifest, Run, begin, digest_of_ids
from coyo_tools.machinery.storage import Folder, folder_at
from coyo_tools.pieces.report.scatter_sheet import scatter_sheet
from coyo_tools.pieces.scores import NOT_RECOMPUTED
from coyo_tools.pieces.source import OpenPart, Source, SourceLike, find
from coyo_tools.stages.compare import (
    NOT_COMPARED,
    PHASH,
    PHASH_NOW,
    Joined,
    comparable_in,
    join,
    load_scores,
)
from coyo_tools.stages.compare_figures import counts, drift_of, figures_of
from coyo_tools.stages.score_difference import in_words
from coyo_tools.words.config import CompareSettings, as_json
from coyo_tools.words.errors import ParityError, SchemaError, SettingsError, SourceError, nearest
from coyo_tools.words.progress import Listener, Progress, silent
from coyo_tools.words.schema import COYO

RESULT = "compare.json"
SCATTER = "scatter.svg"
DIFFERENCES = "differences.parquet"


@dataclass(frozen=True)
class Comparison:
    """What `compare` found; the content of compare.json.

    rows: counts of the join. drift: rows by what became of their picture. columns: for each the
    figures of `coyo_tools.pieces.agreement`, with `by_drift` and `notes`.
    """

    out: str
    rows: Mapping[str, int]
    drift: Mapping[str, int]
    columns: Mapping[str, Mapping[str, Any]]
    notes: Sequence[str]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for --json."""
        return asdict(self)

    def check(self, max_mean_difference: float) -> None:
        """Raise ParityError where a number's mean absolute difference is larger, or is not known:
        of no values, or of infinite ones."""
        said = {
            name: _excess(column["mean_absolute_difference"], max_mean_difference)
            for name, column in self.columns.items()
            if column["kind"] == "number"
        }
        failed = [name for name, words in said.items() if words]
        if failed:
            also = f"; so do {', '.join(failed[1:])}" if failed[1:] else ""
            raise ParityError(
                f"{said[failed[0]]}{also}",
                where=failed[0],
                todo=f"see {self.out}/{DIFFERENCES} for the largest",
            )


def _excess(mean: float | None, most: float) -> str:
    if mean is None:
        return "its mean absolute difference is not known"
    return f"mean absolute difference {mean:.6g} is above {most:g}" if mean > most else ""


def compare(
    scores: SourceLike,
    source: SourceLike,
    out: str | os.PathLike[str],
    settings: CompareSettings | None = None,
    *,
    overwrite: bool = False,
    progress: Listener = silent,
) -> Comparison:
    """Set recomputed columns against the stored ones.

    scores: a folder `score` wrote, or parquet with an id. source: metadata, a subset or a shard
    folder with the stored values. out: folder for compare.json, differences.parquet
    and scatter.svg.
    The scores are held in memory (about 20 bytes a value), the source is streamed.

    Raises SettingsError and SchemaError where there is nothing in common, SettingsError where `out`
    lies within a side, SourceError, SettingsConflict, StorageError.
    """
    settings = settings or CompareSettings()
    ours, theirs = find(scores), find(source, schema=settings.schema)
    our_parts, their_parts = ours.open_all(), theirs.open_all()
    columns, kinds = _common(ours, our_parts, theirs, their_parts, settings.columns)
    _check_limit(settings, columns, kinds)
    folder = folder_at(out)
    for each in (ours, theirs):
        each.keep_out(folder.url, [DIFFERENCES])
    reads = [part.part.url for part in (*our_parts, *their_parts)]
    inputs = [
        {"side": side} | part.identity()
        for side, parts in (("scores", our_parts), ("source", their_parts))
        for part in parts
    ]
    with begin(
        folder, "compare", as_json(settings), inputs, overwrite=overwrite, reads=reads
    ) as run:
        if not run.done:
            wanted = _also(columns, kinds)
            joined = load_scores(our_parts, wanted)
            total = sum(part.rows for part in their_parts)
            join(joined, their_parts, _asked(columns, their_parts), _teller(progress, total))
            _check_found(joined, ours, theirs)
            notes = [*_notes(ours.manifest), *_not_set_against(kinds, their_parts)]
            if untreated := [] if settings.columns else _untreated(our_parts, their_parts):
                notes.append(f"neither numbers nor hashes, not compared: {', '.join(untreated)}")
            _write(run, folder, joined, columns, kinds, notes)
        return Comparison(folder.url, **folder.read_json(RESULT))


def _common(
    ours: Source,
    our_parts: Sequence[OpenPart],
    theirs: Source,
    their_parts: Sequence[OpenPart],
    asked: Sequence[str],
) -> tuple[list[str], dict[str, str]]:
    """Columns to compare, in the scores' order, and their kinds. Raises where there are none."""
    for side, parts in ((ours, our_parts), (theirs, their_parts)):
        if not any(part.rows for part in parts):
            raise SourceError("holds no rows to compare", where=side.url)
    kinds = comparable_in(our_parts)
    there = comparable_in(their_parts)
    # A shard's width is that of the stored picture; the metadata's stands beside it.
    other = {
        n for part in their_parts for n in part.schema.names if f"metadata_{n}" in part.schema.names
    }
    common = [name for name in kinds if name != PHASH_NOW and name not in other and name in there]
    for name in asked:
        if name not in common:
            is_there = name in _untreated(our_parts, their_parts)
            what = "neither numbers nor hashes" if is_there else "not a column that both sides have"
            raise SettingsError(f"{name!r} is {what}", where="-c", todo=_which(name, common))
    if not common:
        raise SchemaError(
            f"has none of the columns {', '.join(kinds) or '(none)'} of {ours.url}",
            where=theirs.url,
            todo="; ".join(_not_set_against(kinds, their_parts))
            or "name the metadata, subset or shards the scores were made from",
        )
    chosen = [name for name in common if name in asked] if asked else common
    return chosen, kinds


def _untreated(our_parts: Sequence[OpenPart], their_parts: Sequence[OpenPart]) -> list[str]:
    """Columns of both sides that are neither numbers nor hashes, such as labels."""
    theirs = {name for part in their_parts for name in part.schema.names}
    kinds = comparable_in(our_parts)
    return [
        name
        for name in dict.fromkeys(name for part in our_parts for name in part.schema.names)
        if name in theirs and name not in kinds and name not in NOT_COMPARED
    ]


def _check_limit(
    settings: CompareSettings, columns: Sequence[str], kinds: Mapping[str, str]
) -> None:
    """Refuse a limit that no column could go beyond."""
    if settings.max_mean_difference is not None and "number" not in map(kinds.get, columns):
        raise SettingsError(
            f"is a limit for numbers, and only hashes are compared: {', '.join(columns)}",
            where="--max-mean-difference",
            todo="leave it out, or name a column of numbers with -c",
        )


def _which(name: str, common: Sequence[str]) -> str:
    if name in NOT_RECOMPUTED:
        return NOT_RECOMPUTED[name]
    near = nearest(name, list(common))
    return f"did you mean {near!r}?" if near else f"those are {', '.join(common) or 'none'}"


def _also(columns: Sequence[str], kinds: Mapping[str, str]) -> list[str]:
    """The columns, and image_phash where the scores have it: it tells which pictures changed."""
    return [*columns, *([PHASH] if PHASH in kinds and PHASH not in columns else [])]


def _asked(columns: Sequence[str], parts: Sequence[OpenPart]) -> list[str]:
    """What to read of the source: the columns, and the hashes that tell which pictures changed."""
    hashes = [n for n in (PHASH, PHASH_NOW) if any(n in part.binding.columns for part in parts)]
    return list(dict.fromkeys([*columns, *hashes]))


def _teller(progress: Listener, total: int) -> Any:
    done = 0

    def told(rows: int) -> None:
        nonlocal done
        done += rows
        progress(Progress("compare", done, total, "rows"))

    return told


def _check_found(joined: Joined, ours: Source, theirs: Source) -> None:
    if joined.found.any():
        return
    why = "none of its rows has an id" if not len(joined.ids) else f"no id of it is in {theirs.url}"
    raise SourceError(
        f"{why}: there is nothing to compare",
        where=ours.url,
        todo="name the metadata, subset or shards the scores were made from",
    )


def _notes(manifest: Manifest | None) -> list[str]:
    """What the scores' own run says about why values may differ."""
    if manifest is None or manifest.command != "score":
        return []
    notes = []
    pictures = manifest.result.get("pictures")
    if pictures and pictures.get("resize") != "no":
        notes.append(
            f"recomputed from stored pictures, resized to {pictures['image_size']} px "
            f"({pictures['resize']}): image columns move a little"
        )
    if manifest.settings.get("precision", "fp32") != "fp32":
        notes.append(f"models ran in {manifest.settings['precision']}")
    for name, apart in manifest.result.get("precision_difference", {}).items():
        notes.append(
            f"{name} differs from fp32, full decoding and Pillow's resizing {in_words(apart)}"
        )
    return notes


def _not_set_against(ours: Iterable[str], their_parts: Sequence[OpenPart]) -> list[str]:
    """Why a model's own column is not compared with the one of COYO's that it is named after."""
    theirs = {name for part in their_parts for name in part.schema.names}
    return [
        f"parity with {published} is not expected of {name}, so they are not compared: {why}"
        for published, why in NOT_RECOMPUTED.items()
        for name in ours
        if published in theirs
        and name.startswith(f"{published}_")
        and COYO[published].dtype.startswith("float")  # text_length is no model's text
    ]


def _write(
    run: Run,
    folder: Folder,
    joined: Joined,
    columns: Sequence[str],
    kinds: Mapping[str, str],
    notes: Sequence[str],
) -> None:
    drift = drift_of(joined)
    document: dict[str, Any] = {
        "rows": {
            "scores": joined.rows,
            "joined": int(joined.found.sum()),
            "absent_from_source": int((~joined.found).sum()),
            "without_id": joined.without_id,
            "duplicate_ids_in_scores": joined.duplicate_ids_in_scores,
            "duplicate_ids_in_source": joined.duplicate_ids_in_source,
        },
        "drift": counts(drift[joined.found]),
        "columns": {},
        "notes": list(notes),
    }
    worst = []
    for name in columns:
        column, rows = figures_of(name, kinds[name], joined, drift)
        document["columns"][name] = column
        worst += rows
    drawn = scatter_sheet(document["columns"])
    if drawn is None:
        folder.delete(SCATTER)  # of an interrupted run that --overwrite took the place of
    else:
        folder.write_bytes(SCATTER, drawn.encode())
    _write_differences(folder, worst)
    folder.write_json(RESULT, document)
    summary = {
        name: {key: c[key] for key in ("rows", "equal", "mean_absolute_difference")}
        for name, c in document["columns"].items()
    }
    result = {"rows": document["rows"], "drift": document["drift"], "columns": summary}
    files = [RESULT, DIFFERENCES] + ([SCATTER] if drawn is not None else [])
    run.finish(result, files, digest_of_ids([joined.ids[joined.found]]))


def _write_differences(folder: Folder, rows: Sequence[Mapping[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        {
            "id": pa.int64(),
            "column": pa.string(),
            "stored": pa.string(),
            "recomputed": pa.string(),
            "difference": pa.float64(),
            "drift": pa.string(),
        }
    )
    with folder.stage(DIFFERENCES) as path:
        pq.write_table(pa.Table.from_pylist(list(rows), schema), path, compression="zstd")
