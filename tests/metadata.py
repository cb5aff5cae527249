"""Small metadata for tests: COYO's schema, made by the benchmarks' generator or row by row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.make_metadata import SCHEMA, table

NAN, INF = float("nan"), float("inf")


def metadata(rows: int, seed: int = 0) -> pa.Table:
    """COYO-like rows."""
    return table(rows, seed=seed)


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
