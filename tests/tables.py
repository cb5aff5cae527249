"""Small metadata tables in COYO's exact schema."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from coyo_tools.words.schema import COYO_COLUMNS

SCHEMA = pa.schema([(c.name, pa.type_for_alias(c.dtype)) for c in COYO_COLUMNS])


def coyo_table(urls: Sequence[str], *, seed: int = 0, first_id: int = 2**41) -> pa.Table:
    """One row a url, with ids as Spark gives them and scores in their published ranges."""
    rng = np.random.default_rng(seed)
    rows = len(urls)
    texts = [f"Picture {n} of a harbour, photographed at dawn" for n in range(rows)]
    values = {
        "id": first_id + np.arange(rows, dtype=np.int64) * 7,
        "url": list(urls),
        "text": texts,
        "width": np.full(rows, 640),
        "height": np.full(rows, 480),
        "image_phash": [f"{h:016x}" for h in rng.integers(0, 2**63, rows)],
        "text_length": [len(t) for t in texts],
        "word_count": [len(t.split()) for t in texts],
        "num_tokens_bert": rng.integers(5, 30, rows),
        "num_tokens_gpt": rng.integers(5, 30, rows),
        "num_faces": rng.poisson(0.6, rows),
        "clip_similarity_vitb32": rng.normal(0.29, 0.04, rows).astype(np.float16),
        "clip_similarity_vitl14": rng.normal(0.25, 0.05, rows).astype(np.float16),
        "nsfw_score_opennsfw2": (rng.random(rows) * 0.499).astype(np.float16),
        "nsfw_score_gantman": rng.random(rows) * 0.499,
        "watermark_score": rng.random(rows),
        "aesthetic_score_laion_v2": rng.normal(4.77, 0.6, rows),
    }
    columns = [pa.array(values[f.name]).cast(f.type) for f in SCHEMA]
    return pa.table(columns, schema=SCHEMA)


def write_parts(
    folder: Path, table: pa.Table, parts: int = 2, row_group_rows: int | None = None
) -> Path:
    """Split `table` evenly into parts named as COYO's are; gives the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    edges = np.linspace(0, table.num_rows, parts + 1).astype(int)
    for index in range(parts):
        piece = table.slice(edges[index], edges[index + 1] - edges[index])
        name = f"part-{index:05d}-17da4908-939c-46e5-91d0-15f256041956-c000.snappy.parquet"
        pq.write_table(piece, folder / name, compression="snappy", row_group_size=row_group_rows)
    return folder
