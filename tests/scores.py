"""What tests of `score` share: settings, and what a run wrote."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from coyo_tools.words.config import ScoreSettings
from tests.tars import FIRST_ID

TEXT = ("text_length", "word_count", "num_tokens_bert", "num_tokens_gpt")
LIGHT = ("image_phash", *TEXT)


def settings(*columns: str, **rest: Any) -> ScoreSettings:
    return ScoreSettings(columns=columns or LIGHT, **rest)


def rows_of(out: Path, name: str = "00000.parquet") -> list[dict[str, Any]]:
    return pq.read_table(out / name).to_pylist()


def fingerprint(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
        if path.name not in ("runs.jsonl", ".coyo.lock")
    }


def metadata(path: Path, texts: list[str | None], **columns: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = {"id": list(range(FIRST_ID, FIRST_ID + len(texts))), "text": texts} | columns
    pq.write_table(pa.table(table), path, row_group_size=3)
    return path
