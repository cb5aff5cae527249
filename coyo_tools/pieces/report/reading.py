"""Folders read into what the page shows: rows sampled, pictures picked, counts as found."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, Any

from coyo_tools.machinery.storage import filesystem, folder_at, is_remote, local_path
from coyo_tools.pieces.report import evidence
from coyo_tools.pieces.report.charts import Mark
from coyo_tools.pieces.report.figures import count, share
from coyo_tools.pieces.report.gallery import Picture, quotas, read_pictures, spread, thumbnail
from coyo_tools.pieces.report.histograms import (
    Sample,
    histogram,
    is_numeric,
    sample,
    summarize,
    tables,
)
from coyo_tools.pieces.report.views import (
    ColumnView,
    ComparisonView,
    GalleryView,
    Output,
    ScoresView,
    ShardsView,
    Side,
)
from coyo_tools.pieces.scores import meaning_of
from coyo_tools.pieces.source import OpenPart, Part, find, open_part
from coyo_tools.words.errors import CorruptFile
from coyo_tools.words.failures import SUCCESS
from coyo_tools.words.schema import COYO

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

_NOT_A_MEASURE = frozenset(("id", "key"))
_MOST_PICTURE_BYTES = 12_000_000
_MOST_PARTS = 256


def numeric_columns(parts: Sequence[OpenPart]) -> list[str]:
    """Columns worth a histogram: COYO's in its order, then others of number type."""
    found: dict[str, str] = {}
    for part in parts:
        found |= {f.name: str(f.type) for f in part.schema}
    ours = [name for name, column in COYO.items() if column.is_number and name in found]
    others = [
        n for n, t in found.items() if n not in COYO and n not in _NOT_A_MEASURE and is_numeric(t)
    ]
    return ours + others


def column_view(
    name: str, sides: Sequence[tuple[str, str, Sample]], marks: Sequence[Mark] = ()
) -> ColumnView:
    """One column of several samples. sides: (kind, label, sample)."""
    values = [read.columns[name] for _, _, read in sides]
    drawn = histogram(values, [mark.at for mark in marks])
    if len(sides) > 1:
        _, label, read = sides[0]
        marks = [_with_share(mark, read, name, label) for mark in marks]
    if drawn is not None and drawn.whole:
        # Between whole numbers, where the bins' edges are.
        marks = [replace(m, at=m.at + (-0.5 if m.keeps == "above" else 0.5)) for m in marks]
    described = tuple(
        Side(kind, label, summarize(read.columns[name], read.nulls[name]))
        for kind, label, read in sides
    )
    return ColumnView(name, meaning_of(name), described, drawn, tuple(marks))


def _with_share(mark: Mark, read: Sample, name: str, side: str) -> Mark:
    """The mark with the share of `read` that its rule alone would keep; nulls are not kept."""
    values = read.columns[name]
    bound = values.dtype.type(mark.at) if values.dtype.kind == "f" else mark.at
    kept = (values >= bound) if mark.keeps == "above" else (values <= bound)
    rows = len(values) + read.nulls[name]
    return replace(mark, note=f"keeps {share(int(kept.sum()), rows)} of the {side}")


def sampled(sides: Sequence[tuple[str, Sample]]) -> str:
    """How much was read, as a sentence."""
    if all(read.whole for _, read in sides):
        return "Every row was read."
    words = [f"{count(r.rows_read)} of {count(r.rows)} rows of {label}" for label, r in sides]
    return f"Read: {'; '.join(words)}, in whole row groups spread evenly."


def open_some(output: Output) -> list[OpenPart]:
    """The output's parts; of very many some, spread evenly: each costs a request where remote."""
    found = find(output.url, schema="coyo")
    return replace(found, parts=tuple(spread(found.parts, _MOST_PARTS))).open_all()


def read_shards(output: Output, max_rows: int) -> ShardsView:
    """Outcomes of all rows; sizes, and drift where no manifest has it, from a sample of them."""
    found = evidence.outcomes_of(output)
    successes = found.pop(SUCCESS, 0)
    rows = successes + sum(found.values())
    sizes, drift, read = _sizes_and_drift(open_some(output), rows, max_rows)
    said = output.manifest.result if output.manifest else {}
    return ShardsView(
        output,
        rows=rows,
        successes=successes,
        errors={name: rows for name, rows in found.items() if rows},
        sizes=sizes,
        drift=said.get("drift") or drift,
        placeholders=said.get("placeholders") or {},
        sampled=read,
    )


_SIZES = ("original_width", "original_height", "width", "height")


def _sizes_and_drift(
    parts: Sequence[OpenPart], rows: int, max_rows: int
) -> tuple[tuple[ColumnView, ...], Mapping[str, int], str]:
    import numpy as np

    lists: dict[str, list[np.ndarray[Any, Any]]] = {name: [] for name in _SIZES}
    drift: Counter[str] = Counter()
    rows_read = 0
    for table in tables(parts, [*_SIZES, "status", "drift"], max_rows):
        rows_read += table.num_rows
        good = _successes(table)
        for name in _SIZES:
            if name in good.column_names:
                lists[name].append(good.column(name).drop_null().to_numpy())
        if "drift" in good.column_names:
            drift.update(str(kind or "unknown") for kind in good.column("drift").to_pylist())
    arrays = {n: np.concatenate(v) if v else np.empty(0, np.int64) for n, v in lists.items()}
    return (
        _size_views(arrays, rows, rows_read),
        drift,
        sampled((("the shards", Sample(rows, rows_read, {}, {})),)),
    )


def _successes(table: pa.Table) -> pa.Table:
    import pyarrow.compute as pc

    return (
        table.filter(pc.equal(table.column("status"), SUCCESS))
        if "status" in table.column_names
        else table
    )


def _size_views(
    arrays: Mapping[str, np.ndarray[Any, Any]], rows: int, rows_read: int
) -> tuple[ColumnView, ...]:
    """Shorter and longer side, as fetched and as stored, px."""
    import numpy as np

    if not len(arrays["width"]):
        return ()
    views = []
    for name, pick in (("shorter side", np.minimum), ("longer side", np.maximum)):
        sides = []
        for kind, label, prefix in (
            ("before", "as fetched", "original_"),
            ("after", "as stored", ""),
        ):
            width, height = arrays[f"{prefix}width"], arrays[f"{prefix}height"]
            if len(width) == len(height) and len(width):
                sides.append(
                    (kind, label, Sample(rows, rows_read, {name: pick(width, height)}, {name: 0}))
                )
        views.append(column_view(name, sides))
    return tuple(
        ColumnView(v.name, "px, of the pictures that were stored", v.sides, v.histogram)
        for v in views
    )


def read_scores(output: Output, max_rows: int) -> ScoresView:
    """The recomputed columns, sampled; rows and errors from the manifest."""
    assert output.manifest is not None
    result = output.manifest.result
    parts = open_some(output)
    read = replace(sample(parts, numeric_columns(parts), max_rows), rows=int(result["rows"]))
    sides = [("after", "recomputed", read)]
    return ScoresView(
        output,
        rows=read.rows,
        errors={name: int(rows) for name, rows in result["errors"].items()},
        columns=tuple(column_view(name, sides) for name in read.columns),
        sampled=sampled([("the scores", read)]),
    )


def read_comparison(output: Output) -> ComparisonView:
    """What compare.json says."""
    found = evidence.comparison(folder_at(output.url))
    return ComparisonView(output, found["columns"], found["notes"])


def read_gallery(output: Output, scores: Sequence[Output], wanted: int) -> GalleryView:
    """Thumbnails spread evenly over the shards, with the rows and scores of the same keys."""
    folder = folder_at(output.url)
    stems = spread(evidence.shard_stems(folder), wanted)
    take = quotas(wanted, [evidence.successes(folder, stem) for stem in stems])
    rows = _parts_by_name(output)
    recomputed = [_parts_by_name(one) for one in scores]
    pictures: list[Picture] = []
    unreadable = 0
    for stem, quota in zip(stems, take, strict=True):
        if not quota:
            continue
        found, missing = _from_shard(f"{output.url}/{stem}.tar", rows, recomputed, quota)
        pictures += found
        unreadable += missing
        if sum(len(p.jpeg) for p in pictures) > _MOST_PICTURE_BYTES:
            break
    return GalleryView(output, tuple(pictures), unreadable)


def _parts_by_name(output: Output) -> dict[str, Part]:
    return {part.name: part for part in find(output.url, schema="coyo").parts}


def _from_shard(
    tar: str, rows: Mapping[str, Part], scores: Sequence[Mapping[str, Part]], quota: int
) -> tuple[list[Picture], int]:
    """Pictures of one shard, and how many of those picked could not be shown."""
    stem = PurePosixPath(tar).stem
    name = f"{stem}.parquet"
    if name not in rows:
        raise CorruptFile("has no parquet beside it", where=tar)
    by_key = _success_rows(rows[name])
    keys = spread(list(by_key), quota)
    with _opened(tar) as handle:
        encoded = read_pictures(handle, set(keys))
    recomputed = _scores_of([parts[name] for parts in scores if name in parts], set(keys))
    pictures = []
    for key in keys:
        small = thumbnail(encoded[key]) if key in encoded else None
        if small is not None:
            found = recomputed.get(key, {})
            pictures.append(Picture(key, stem, *small, row=by_key[key], scores=found))
    return pictures, len(keys) - len(pictures)


def _success_rows(part: Part) -> dict[str, dict[str, Any]]:
    """The rows with a picture, by key, in order."""
    with contextlib.closing(open_part(part, "coyo")) as opened:
        opened.binding.in_file(["key"], part.url)
        names = [n for n in opened.schema.names if n in _SHOWN or n in COYO]
        rows = (row for table in opened.batches(names) for row in _successes(table).to_pylist())
        return {str(row["key"]): row for row in rows}


_SHOWN = frozenset(
    ("key", "url", "caption", "status", "original_width", "original_height", "image_phash_now")
)


def _scores_of(parts: Sequence[Part], keys: set[str]) -> dict[str, dict[str, Any]]:
    """Recomputed columns of these keys."""
    found: dict[str, dict[str, Any]] = {}
    for part in parts:
        with contextlib.closing(open_part(part, "coyo")) as opened:
            names = [n for n in opened.schema.names if n not in ("id", "error")]
            for row in (row for table in opened.batches(names) for row in table.to_pylist()):
                key = str(row.pop("key", ""))
                if key in keys:
                    found.setdefault(key, {}).update(row)
    return found


@contextlib.contextmanager
def _opened(url: str) -> Iterator[IO[bytes]]:
    if is_remote(url):
        fs, path = filesystem(url)
        with fs.open(path, "rb") as handle:
            yield handle
    else:
        with local_path(url).open("rb") as handle:
            yield handle
