"""The material of `coyo demo`: real pictures and a metadata table in COYO's schema about them.

True: sizes, hashes, captions' lengths, word and token counts (measured when the pictures were made,
stored in `data/demo/*.json`). num_faces was counted by eye. INVENTED: the CLIP, NSFW, watermark and
aesthetic scores; no model has seen the pictures. They are seeded numbers with the shape and means
that COYO publishes.
"""

from __future__ import annotations

import json
import math
import random
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from statistics import fmean, pstdev
from typing import TYPE_CHECKING, Any, Literal

from coyo_tools.words.schema import COYO_COLUMNS

if TYPE_CHECKING:
    import pyarrow as pa

# What the demo's server does with a url; `demo_server` says it of each.
Answer = Literal[
    "picture",
    "not_found",
    "gone",
    "server_error",
    "forbidden",
    "redirect",
    "redirect_loop",
    "html",
    "truncated",
    "empty",
    "placeholder",
    "slow",
    "noai",
    "svg",
    "too_many_requests",
    "wrong_type",
]
PLACEHOLDER_FILE = "image-not-found.png"
PART_NAME = "part-{:05d}-17da4908-939c-46e5-91d0-15f256041956-c000.snappy.parquet"
PARTITIONS = (160, 288, 415)  # the high bits of Spark's ids, one partition a part; above 2^40
ROWS_PER_GROUP = 15
SEED = 700
# Row numbers whose score is missing, as happens in the real data.
HOLES: Mapping[str, Mapping[int, float | None]] = {
    "clip_similarity_vitb32": {23: None},
    "nsfw_score_gantman": {88: None},
    "watermark_score": {7: None, 55: None},
    "aesthetic_score_laion_v2": {31: None, 64: math.nan},
}


@dataclass(frozen=True)
class DemoRow:
    """One row of the metadata. answer: what the server does with path. file: the shipped picture
    behind the url, None where it vanished; width, height (px) and image_phash then describe the
    picture that used to be there."""

    answer: Answer
    path: str
    file: str | None
    caption: str
    text_length: int
    word_count: int
    num_tokens_bert: int
    num_tokens_gpt: int
    width: int
    height: int
    image_phash: str
    num_faces: int


@dataclass(frozen=True)
class DemoPicture:
    """Where a shipped picture comes from. licence: an SPDX id, or its name. url may be empty.
    near_duplicate_of: the file that it is a re-encoding of."""

    file: str
    original: str
    author: str
    licence: str
    source: str
    url: str
    near_duplicate_of: str | None


def demo_pictures() -> tuple[DemoPicture, ...]:
    """The shipped pictures, with author and licence."""
    names = [field.name for field in fields(DemoPicture)]
    entries = _entries("pictures.json")
    return tuple(DemoPicture(**{name: entry[name] for name in names}) for entry in entries)


def picture_bytes(file: str) -> bytes:
    """The bytes of a shipped picture. file: a name of `demo_pictures`."""
    return (files("coyo_tools") / "data" / "demo" / "pictures" / file).read_bytes()


def demo_rows() -> tuple[DemoRow, ...]:
    """All rows in the order of the table: every picture, further captions, misbehaving urls."""
    names = [field.name for field in fields(DemoRow)]
    entries = [{"answer": "picture"} | entry for entry in _entries("pictures.json")]
    entries += _entries("more_rows.json")
    rows = [DemoRow(**{name: entry[name] for name in names}) for entry in entries]
    random.Random(SEED).shuffle(rows)  # noqa: S311  an order, not a secret
    return tuple(rows)


def demo_table(base_url: str) -> pa.Table:
    """The metadata in COYO's schema and column order. base_url: where the pictures are served.
    The six model scores are INVENTED (see the module); everything else is true."""
    import pyarrow as pa

    rows = demo_rows()
    columns: dict[str, Sequence[Any]] = {
        "id": _ids(len(rows)),
        "url": [base_url.rstrip("/") + row.path for row in rows],
        "text": [row.caption for row in rows],
    }
    for name in ("width", "height", "image_phash", "text_length", "word_count"):
        columns[name] = [getattr(row, name) for row in rows]
    for name in ("num_tokens_bert", "num_tokens_gpt", "num_faces"):
        columns[name] = [getattr(row, name) for row in rows]
    columns |= invented_scores(rows)
    schema = pa.schema([(c.name, pa.type_for_alias(c.dtype)) for c in COYO_COLUMNS])
    return pa.table({field.name: columns[field.name] for field in schema}, schema=schema)


def write_demo_metadata(folder: Path, base_url: str) -> list[Path]:
    """Write the table as three parts named and compressed like COYO's, of three row groups each.
    Returns their paths. The same base_url and pyarrow give the same bytes."""
    import pyarrow.parquet as pq

    table = demo_table(base_url)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / PART_NAME.format(number) for number in range(len(PARTITIONS))]
    for path, (start, stop) in zip(paths, _part_bounds(len(table)), strict=True):
        part = table.slice(start, stop - start)
        pq.write_table(part, path, compression="snappy", row_group_size=ROWS_PER_GROUP)
    return paths


def invented_scores(rows: Sequence[DemoRow]) -> dict[str, list[float | None]]:
    """Seeded stand-ins for the model scores, by column. Rows with the same hash share the scores of
    a picture; a second caption of a picture has lower similarities, as it fits less well."""
    clip = [
        0.8 * _gauss("picture", row.image_phash)
        + 0.6 * _gauss("caption", row.caption)
        - (0.0 if row.caption in _first_captions() else 1.2)
        for row in rows
    ]
    l14 = [z + 0.6 * _gauss("l14", row.caption) for z, row in zip(clip, rows, strict=True)]
    scores = {
        "clip_similarity_vitb32": _round("e", _scaled(clip, 0.291266, 0.045)),
        "clip_similarity_vitl14": _round("e", _scaled(l14, 0.254632, 0.050)),
        "nsfw_score_opennsfw2": _round("e", _of_pictures(rows, "nsfw2", _skewed, 0.012903, 0.49)),
        "nsfw_score_gantman": _round("f", _of_pictures(rows, "gantman", _skewed, 0.03, 0.49)),
        "watermark_score": _round("f", _of_pictures(rows, "watermark", _mostly_low, 0.178544, 1.0)),
        "aesthetic_score_laion_v2": _round(
            "f", _scaled([_gauss("aesthetic", row.image_phash) for row in rows], 4.769132, 0.65)
        ),
    }
    return {
        name: [HOLES.get(name, {}).get(i, value) for i, value in enumerate(values)]
        for name, values in scores.items()
    }


def _entries(name: str) -> list[dict[str, Any]]:
    text = (files("coyo_tools") / "data" / "demo" / name).read_text("utf-8")
    entries: list[dict[str, Any]] = json.loads(text)
    return entries


def _first_captions() -> frozenset[str]:
    return frozenset(entry["caption"] for entry in _entries("pictures.json"))


def _part_bounds(n_rows: int) -> list[tuple[int, int]]:
    """First row and the row after the last of every part."""
    n_parts = len(PARTITIONS)
    edges = [n_rows * number // n_parts for number in range(n_parts + 1)]
    return list(pairwise(edges))


def _ids(n_rows: int) -> list[int]:
    """Ids as Spark's monotonically_increasing_id gives them: partition << 33 | number, with gaps
    where rows were dropped."""
    gaps = random.Random(SEED)  # noqa: S311  gaps, not secrets
    ids: list[int] = []
    for partition, (start, stop) in zip(PARTITIONS, _part_bounds(n_rows), strict=True):
        number = gaps.randrange(500_000)
        for _ in range(stop - start):
            number += gaps.randrange(1, 12)
            ids.append(partition << 33 | number)
    return ids


def _gauss(kind: str, key: str) -> float:
    """A standard normal number that depends on kind and key alone."""
    return random.Random(f"{SEED}/{kind}/{key}").gauss(0.0, 1.0)  # noqa: S311  invented score


def _skewed(z: float) -> float:
    return math.exp(1.5 * z)


def _mostly_low(z: float) -> float:
    return 1.0 / (1.0 + math.exp(2.5 - 2.2 * z))


def _of_pictures(
    rows: Sequence[DemoRow], kind: str, shape: Callable[[float], float], mean: float, top: float
) -> list[float]:
    """One number a picture, shaped, scaled to the mean, at most top."""
    values = [shape(_gauss(kind, row.image_phash)) for row in rows]
    scale = mean / fmean(values)
    return [min(top, value * scale) for value in values]


def _scaled(values: Sequence[float], mean: float, spread: float) -> list[float]:
    """values moved and stretched to this mean and standard deviation."""
    middle, width = fmean(values), pstdev(values)
    return [mean + spread * (value - middle) / width for value in values]


def _round(code: str, values: Sequence[float]) -> list[float]:
    """values as float16 ("e") or float32 ("f") holds them."""
    return [struct.unpack(code, struct.pack(code, value))[0] for value in values]
