"""The files of one shard's embeddings: aligned, whole or not counted, none without rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from coyo_tools.stages.embeddings import (
    EmbeddedRow,
    EmbeddingsPlace,
    files_of,
    record_of,
    write,
)

ROWS = [EmbeddedRow(f"{n:016d}", n, f"caption {n}", None) for n in range(4)]


def vectors(*known: int) -> list[Any]:
    """One for each row, where there is one."""
    ones = np.arange(3, dtype=np.float16)
    return [ones + n if n in known else None for n in range(len(ROWS))]


@pytest.fixture
def place(tmp_path: Path) -> EmbeddingsPlace:
    return EmbeddingsPlace(str(tmp_path), "settings", {"model": ""})


def test_rows_with_both_in_their_order(place: EmbeddingsPlace, tmp_path: Path) -> None:
    write(place, "00007", ROWS, {"model": (vectors(0, 1, 3), vectors(0, 2, 3))})
    images, texts, table = (tmp_path / name for name in files_of("00007"))
    assert np.array_equal(np.load(images), [[0, 1, 2], [3, 4, 5]])
    assert np.array_equal(np.load(texts), np.load(images))
    assert np.load(images).dtype == np.float16
    assert pq.read_table(table).column("id").to_pylist() == [0, 3]
    expected = {"model": {"rows": 2, "dimensions": 3, "left_out": 2}}
    assert record_of(place, "00007") == expected


def test_a_url_that_is_no_text_is_none(place: EmbeddingsPlace, tmp_path: Path) -> None:
    urls: list[Any] = ["http://h/0", 7, None, ["http://h/3"]]
    rows = [replace(row, url=url) for row, url in zip(ROWS, urls, strict=True)]
    write(place, "00007", rows, {"model": (vectors(0, 1, 2, 3),) * 2})
    table = pq.read_table(tmp_path / files_of("00007")[2])
    assert table.column("url").to_pylist() == ["http://h/0", None, None, None]


@pytest.mark.parametrize("lost", [*files_of("00007"), "00007_stats.json"])
def test_what_lacks_a_file_is_not_there(place: EmbeddingsPlace, tmp_path: Path, lost: str) -> None:
    write(place, "00007", ROWS, {"model": (vectors(0), vectors(0))})
    assert record_of(place, "00007") is not None
    (tmp_path / lost).unlink()
    assert record_of(place, "00007") is None


def test_what_other_settings_made_is_not_there(place: EmbeddingsPlace, tmp_path: Path) -> None:
    write(place, "00007", ROWS, {"model": (vectors(0), vectors(0))})
    assert record_of(replace(place, settings="others"), "00007") is None
    assert record_of(replace(place, below={"model": "", "two": "two"}), "00007") is None
    (tmp_path / "00007_stats.json").write_text('{"settings": "sett')
    assert record_of(place, "00007") is None


def test_a_shard_without_rows_has_a_record_alone(place: EmbeddingsPlace, tmp_path: Path) -> None:
    write(place, "00007", ROWS, {"model": (vectors(0), vectors(0))})
    write(place, "00007", ROWS, {"model": (vectors(0), vectors(1))})
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["00007_stats.json"]
    assert record_of(place, "00007") == {"model": {"rows": 0, "dimensions": None, "left_out": 4}}
    write(place, "00008", [], {"model": ([], [])})
    assert record_of(place, "00008") == {"model": {"rows": 0, "dimensions": None, "left_out": 0}}


def test_a_folder_for_each_encoder(tmp_path: Path) -> None:
    place = EmbeddingsPlace(str(tmp_path), "settings", {"a": "a", "b": "b"})
    write(place, "0", ROWS, {"a": (vectors(0), vectors(0)), "b": (vectors(1, 2), vectors(1, 2))})
    assert len(np.load(tmp_path / "a" / "img_emb" / "img_emb_0.npy")) == 1
    assert len(np.load(tmp_path / "b" / "text_emb" / "text_emb_0.npy")) == 2
