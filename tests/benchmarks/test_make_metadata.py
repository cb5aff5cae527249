"""The generator keeps what it promises of COYO: schema, means, duplicates, texts that agree."""

from __future__ import annotations

import re

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from benchmarks.make_metadata import SCHEMA, write
from coyo_tools.words.schema import COYO_COLUMNS

MEANS = {"width": 621.78, "height": 540.99, "text_length": 68.53, "word_count": 11.13,
         "num_tokens_bert": 15.75, "num_tokens_gpt": 17.24, "num_faces": 0.60,
         "watermark_score": 0.178544, "clip_similarity_vitb32": 0.291266,
         "clip_similarity_vitl14": 0.254632, "aesthetic_score_laion_v2": 4.769132,
         "nsfw_score_opennsfw2": 0.012903}  # fmt: skip


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    write(folder, files=2, rows=60_000, row_group_rows=25_000)
    files = [pq.ParquetFile(path) for path in sorted(folder.glob("*.parquet"))]
    sizes = [f.metadata.row_group(g).num_rows for f in files for g in range(f.num_row_groups)]
    assert sizes == [25_000, 25_000, 10_000] * 2
    return pq.read_table(folder)


def test_the_schema_is_coyos(table):
    types = {"int64": "int64", "int32": "int32", "float": "float32", "string": "string"}
    assert [(f.name, types[str(f.type)]) for f in table.schema] == [
        (c.name, c.dtype) for c in COYO_COLUMNS
    ]
    assert table.schema == SCHEMA


@pytest.mark.parametrize("column", MEANS)
def test_means_are_the_published_ones(table, column):
    assert pc.mean(table[column]).as_py() == pytest.approx(MEANS[column], rel=0.05)


@pytest.mark.parametrize(
    ("column", "share"), [("id", 1), ("url", 0.8784), ("image_phash", 0.776), ("text", 0.7581)]
)
def test_duplicates_are_as_published(table, column, share):
    assert pc.count_distinct(table[column]).as_py() / len(table) == pytest.approx(share, abs=0.01)


def test_rows_are_consistent(table):
    for row in table.slice(0, 3000).to_pylist():
        assert row["id"] > 2**40
        assert row["text_length"] == len(row["text"]) >= 6
        assert row["word_count"] == len(re.findall(r"\w+", row["text"])) >= 3
        assert bin(int(row["image_phash"], 16)).count("1") == 32
        assert int(row["image_phash"][0], 16) >= 8
        longer, shorter = max(row["width"], row["height"]), min(row["width"], row["height"])
        assert shorter >= 200
        assert longer <= 3 * shorter
    by_url = table.group_by("url").aggregate([("image_phash", "count_distinct")])
    assert pc.max(by_url["image_phash_count_distinct"]).as_py() == 1


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    made = [write(tmp_path / name, files=1, rows=500, seed=seed)[0].read_bytes()
            for name, seed in (("a", 1), ("b", 1), ("c", 2))]  # fmt: skip
    assert made[0] == made[1] != made[2]
