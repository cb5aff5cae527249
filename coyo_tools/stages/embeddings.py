"""The embeddings of one shard as files, in the layout that clip-retrieval reads.

    img_emb/img_emb_00000.npy      float16 (rows, dimensions), each row of length 1
    text_emb/text_emb_00000.npy    the same of the captions
    metadata/metadata_00000.parquet    a row each: image_path, caption, id, key, url

Its reader takes the files of the three folders in the order of their names and expects as many
rows in each, and passes over empty arrays but not over the empty table beside them: a row is there
where both picture and caption have an embedding, and a shard without any such row has no files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coyo_tools.machinery.storage import Folder, folder_at

if TYPE_CHECKING:
    import numpy as np

IMAGES, TEXTS, TABLES = "img_emb", "text_emb", "metadata"


@dataclass(frozen=True)
class EmbeddedRow:
    """What the table says of a row."""

    key: str | None
    id: int | None
    caption: str | None
    url: str | None


@dataclass(frozen=True)
class EmbeddingsPlace:
    """Where embeddings go. settings: a digest of what they were made with; below: the folder of
    each encoder, "" for the place itself."""

    url: str
    settings: str
    below: Mapping[str, str]


def files_of(stem: str, below: str = "") -> tuple[str, str, str]:
    """The names of a shard's three files."""
    start = f"{below}/" if below else ""
    return (
        f"{start}{IMAGES}/{IMAGES}_{stem}.npy",
        f"{start}{TEXTS}/{TEXTS}_{stem}.npy",
        f"{start}{TABLES}/{TABLES}_{stem}.parquet",
    )


def record_of(place: EmbeddingsPlace, stem: str) -> dict[str, Any] | None:
    """What was written of a shard, once all of it is there; None where it is not.

    By encoder: `rows`, `dimensions`, `left_out` (rows without picture or caption).
    """
    folder = folder_at(place.url)
    try:
        said: dict[str, Any] = folder.read_json(record_name(stem))
    except (FileNotFoundError, ValueError):
        return None
    encoders = said.get("encoders", {})
    if said.get("settings") != place.settings or set(encoders) != set(place.below):
        return None
    there = all(
        folder.exists(name)
        for encoder, counts in encoders.items()
        if counts["rows"]
        for name in files_of(stem, place.below[encoder])
    )
    return encoders if there else None


def record_name(stem: str) -> str:
    """The file that says that all of a shard is there."""
    return f"{stem}_stats.json"


def write(
    place: EmbeddingsPlace,
    stem: str,
    rows: Sequence[EmbeddedRow],
    embeddings: Mapping[str, tuple[Sequence[Any], Sequence[Any]]],
) -> None:
    """Write a shard's files, its record last.

    embeddings: by encoder the float16 vectors of pictures and captions, None where there is none.
    """
    folder = folder_at(place.url)
    counts = {}
    for encoder, (images, texts) in embeddings.items():
        pairs = zip(images, texts, strict=True)
        both = [n for n, (i, t) in enumerate(pairs) if i is not None and t is not None]
        names = files_of(stem, place.below[encoder])
        counts[encoder] = {
            "rows": len(both),
            "dimensions": len(images[both[0]]) if both else None,
            "left_out": len(rows) - len(both),
        }
        for name in names:
            folder.delete(name)  # of an earlier run, where this one has no rows
        if both:
            _write_array(folder, names[0], [images[n] for n in both])
            _write_array(folder, names[1], [texts[n] for n in both])
            _write_table(folder, names[2], [rows[n] for n in both])
    folder.write_json(record_name(stem), {"settings": place.settings, "encoders": counts})


def _write_array(folder: Folder, name: str, vectors: Sequence[np.ndarray[Any, Any]]) -> None:
    import numpy as np

    with folder.stage(name) as path, path.open("wb") as file:
        np.save(file, np.stack(vectors), allow_pickle=False)


def _write_table(folder: Folder, name: str, rows: Sequence[EmbeddedRow]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    text = pa.string()
    urls = [row.url if isinstance(row.url, str) else None for row in rows]  # KEY.json says anything
    table = pa.table(
        {
            "image_path": pa.array([row.key for row in rows], text),
            "caption": pa.array([row.caption for row in rows], text),
            "id": pa.array([row.id for row in rows], pa.int64()),
            "key": pa.array([row.key for row in rows], text),
            "url": pa.array(urls, text),
        }
    )
    with folder.stage(name) as path:
        pq.write_table(table, path, compression="zstd")
