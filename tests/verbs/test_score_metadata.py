"""`score` over metadata: the text columns, and what needs pictures."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import coyo_tools
from coyo_tools.words.errors import (
    SchemaError,
    SourceError,
)
from coyo_tools.words.progress import Progress
from tests.scores import TEXT, metadata, rows_of, settings
from tests.tars import FIRST_ID


def test_text_columns_of_metadata(tmp_path: Path) -> None:
    metadata(tmp_path / "meta" / "part-0.parquet", ["one two", None, "three", "", "[CLS] five"])
    metadata(tmp_path / "meta" / "part-1.parquet", [])
    coyo_tools.score(tmp_path / "meta", tmp_path / "out", settings(*TEXT))
    rows = rows_of(tmp_path / "out", "part-0.parquet")
    assert [r["id"] for r in rows] == [FIRST_ID + n for n in range(5)]
    assert rows[0]["key"] == f"{FIRST_ID:016d}"
    assert [r["word_count"] for r in rows] == [2, None, 1, 0, 2]
    assert [r["num_tokens_bert"] for r in rows] == [2, None, 1, 0, 5]
    assert rows_of(tmp_path / "out", "part-1.parquet") == []


def test_progress_counts_parts(tmp_path: Path) -> None:
    for number in range(2):
        metadata(tmp_path / "meta" / f"part-{number}.parquet", ["one two"])
    steps: list[Progress] = []
    coyo_tools.score(
        tmp_path / "meta", tmp_path / "out", settings("word_count"), progress=steps.append
    )
    assert {(step.total, step.unit) for step in steps} == {(2, "parts")}


@pytest.mark.skipif(
    "COYO_TEST_DATA" not in os.environ,
    reason="COYO_TEST_DATA names no folder with published_rows.json",
)
def test_published_rows(tmp_path: Path) -> None:
    known = json.loads(Path(os.environ["COYO_TEST_DATA"], "published_rows.json").read_text("utf-8"))
    pq.write_table(pa.Table.from_pylist(known), tmp_path / "rows.parquet")
    coyo_tools.score(tmp_path / "rows.parquet", tmp_path / "out", settings(*TEXT))
    found = rows_of(tmp_path / "out", "rows.parquet")
    assert [{n: r[n] for n in ("id", *TEXT)} for r in found] == [
        {n: r[n] for n in ("id", *TEXT)} for r in known
    ]


def test_metadata_of_another_schema_without_ids(tmp_path: Path) -> None:
    pq.write_table(pa.table({"URL": ["u"], "TEXT": ["a b"], "WIDTH": [1]}), tmp_path / "l.parquet")
    coyo_tools.score(tmp_path / "l.parquet", tmp_path / "out", settings("word_count"))
    expected = {"id": None, "key": None, "word_count": 2, "error": None}
    assert rows_of(tmp_path / "out", "l.parquet") == [expected]


def test_image_columns_of_metadata_say_to_download_first(tmp_path: Path) -> None:
    metadata(tmp_path / "meta" / "p.parquet", ["a"])
    with pytest.raises(
        SourceError, match="image_phash needs the pictures; run first: coyo download"
    ):
        coyo_tools.score(tmp_path / "meta", tmp_path / "out", settings())
    assert not (tmp_path / "out").exists()


def test_metadata_without_text_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": [1]}), tmp_path / "p.parquet")
    with pytest.raises(SchemaError, match="has no column 'text'"):
        coyo_tools.score(tmp_path / "p.parquet", tmp_path / "out", settings(*TEXT))
