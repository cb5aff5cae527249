"""Small metadata for tests: COYO's schema, made by the benchmarks' generator or row by row."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.make_metadata import SCHEMA, table
from coyo_tools.pieces.bites import bites
from coyo_tools.stages import filter as filter_stage
from coyo_tools.stages import overlap as overlap_stage
from coyo_tools.stages import select as select_stage

NAN, INF = float("nan"), float("inf")


def metadata(rows: int, seed: int = 0) -> pa.Table:
    """COYO-like rows."""
    return table(rows, seed=seed)


_ODD = {
    "float": [None, NAN, INF, -INF, -0.0, 0.0, 0.3, 0.25, 1e-45, -1e-45],
    "int32": [None, 0, -1, 2**31 - 1, -(2**31)],
    "string": [None, "", "東京 é", "e\u0301 dog", "🙂 dog", "dog\nand cat", "It's 100%",
               "שלום עולם", "a\0dog", "👩\u200d👧"],
}  # fmt: skip
_ODD_IDS = (0, -1, -(2**63), 2**63 - 1, 2**53 + 1, -(2**53) - 1, 2**62 + 1)


def nasty(rows: int, seed: int = 0) -> pa.Table:
    """COYO-like rows with unique ids, a third of each column's values odd: nulls, NaN, infinities,
    -0.0, subnormals, extremes of integers, negative ids, empty and unusual text."""
    draw = np.random.default_rng(seed)
    whole = metadata(rows, seed)
    for index, field in enumerate(whole.schema):
        values = whole[field.name].to_pylist()
        if field.name == "id":
            for at, odd in zip(draw.permutation(rows), _ODD_IDS, strict=False):
                values[at] = odd
        elif field.name not in ("url", "image_phash"):
            choices = _ODD[str(field.type)]
            for at in draw.integers(0, rows, rows // 3):
                values[at] = choices[draw.integers(len(choices))]
        whole = whole.set_column(index, field, pa.array(values, field.type))
    return whole


def cut(whole: pa.Table, *rows: int) -> list[pa.Table]:
    """The table in consecutive pieces of so many rows, and what is left."""
    edges = np.cumsum([0, *rows])
    return [whole.slice(at, count) for at, count in zip(edges, [*rows, None], strict=True)]


@contextmanager
def small_bites(rows: int = 150, *, one_of: int = -1) -> Iterator[None]:
    """Several bites a part, as large parts have. one_of: but one where row groups have so many rows
    or fewer; of an empty part that is 0."""
    with pytest.MonkeyPatch.context() as patch:
        for stage in (filter_stage, overlap_stage, select_stage):
            patch.setattr(
                stage, "bites", lambda part, most=rows, **named: bites(part, most, **named)
            )
        patch.setattr(filter_stage, "_ENOUGH", rows)
        patch.setattr(filter_stage, "_SMALL", one_of)
        yield


def write_parts(folder: Path, tables: Sequence[pa.Table], **options: Any) -> list[Path]:
    """One parquet file a table: part-0.parquet and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"part-{index}.parquet" for index in range(len(tables))]
    for path, each in zip(paths, tables, strict=True):
        pq.write_table(each, path, **{"row_group_size": 1000, "compression": "snappy", **options})
    return paths


def rows_of(*rows: dict[str, Any]) -> pa.Table:
    """A table in COYO's schema from rows that name only what matters; ids count from 2^41."""
    ordinary: dict[str, Any] = {
        "url": "http://a.example/x.jpg", "text": "a small dog", "width": 640, "height": 480,
        "image_phash": "c11a78906fe5873e", "text_length": 11, "word_count": 3,
        "num_tokens_bert": 3, "num_tokens_gpt": 3, "num_faces": 0, "clip_similarity_vitb32": 0.3,
        "clip_similarity_vitl14": 0.25, "nsfw_score_opennsfw2": 0.01, "nsfw_score_gantman": 0.02,
        "watermark_score": 0.1, "aesthetic_score_laion_v2": 5.0,
    }  # fmt: skip
    full = [{"id": 2**41 + n, **ordinary, **row} for n, row in enumerate(rows)]
    return pa.Table.from_pylist(full, schema=SCHEMA)


def parts_of(folder: Path) -> pa.Table:
    """Every part of a subset, in order, as one table."""
    return pa.concat_tables([pq.read_table(path) for path in sorted(folder.glob("*.parquet"))])


def ids_in(folder: Path) -> list[int]:
    """The ids of every part, in order."""
    ids: list[int] = parts_of(folder)["id"].to_pylist()
    return ids


def bytes_of(folder: Path) -> dict[str, str]:
    """A digest of every file that a run leaves, but the log of times."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
        if path.name not in ("runs.jsonl", ".coyo.lock")
    }
