from __future__ import annotations

import io
import math
import re
import struct
from collections import Counter, defaultdict
from importlib.resources import files
from pathlib import Path
from typing import get_args

import imagehash
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from coyo_tools.pieces.demo_data import (
    PLACEHOLDER_FILE,
    Answer,
    DemoRow,
    demo_pictures,
    demo_rows,
    demo_table,
    invented_scores,
    picture_bytes,
    write_demo_metadata,
)

BASE = "http://127.0.0.1:8123"
INT32 = [
    "width",
    "height",
    "text_length",
    "word_count",
    "num_tokens_bert",
    "num_tokens_gpt",
    "num_faces",
]
FLOAT32 = [
    "clip_similarity_vitb32",
    "clip_similarity_vitl14",
    "nsfw_score_opennsfw2",
    "nsfw_score_gantman",
    "watermark_score",
    "aesthetic_score_laion_v2",
]
ALLOWED = {"Public domain", "CC0-1.0", "CC-BY-2.0", "CC-BY-4.0", "CC-BY-SA-3.0", "CC-BY-SA-4.0"}
ALLOWED |= {"Apache-2.0", "No known copyright restrictions"}


def opened(file: str) -> Image.Image:
    return Image.open(io.BytesIO(picture_bytes(file)))


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return demo_table(BASE)


@pytest.fixture(scope="module")
def rows() -> tuple[DemoRow, ...]:
    return demo_rows()


def test_everything_fits_in_four_megabytes() -> None:
    folder = Path(str(files("coyo_tools") / "data" / "demo"))
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= 4_000_000


def test_every_file_is_listed_and_every_picture_credited() -> None:
    folder = Path(str(files("coyo_tools") / "data" / "demo"))
    pictures = demo_pictures()
    assert {p.file for p in pictures} == {path.name for path in (folder / "pictures").iterdir()}
    text = (folder / "LICENSES.md").read_text("utf-8")
    for picture in pictures:
        assert picture.licence in ALLOWED
        assert picture.author
        assert picture.source
        assert f"`{picture.file}`" in text
        assert f"## {picture.original}\n" in text
    assert "invented" in text


def test_pictures_are_varied_as_the_web_is() -> None:
    formats: Counter[str | None] = Counter()
    modes: Counter[str] = Counter()
    orientations: Counter[int] = Counter()
    sides: list[int] = []
    animated, progressive, tall = 0, 0, 0
    for picture in demo_pictures():
        with opened(picture.file) as image:
            formats[image.format] += 1
            modes[image.mode] += 1
            orientations[image.getexif().get(0x0112, 1)] += 1
            sides.append(max(image.size))
            animated += getattr(image, "n_frames", 1) > 1
            progressive += "progressive" in image.info
            tall += image.height > 1.3 * image.width
            assert min(image.size) >= 200
            assert max(image.size) <= 3 * min(image.size)
            image.load()
    assert len(sides) >= 60
    assert set(formats) == {"JPEG", "PNG", "WEBP", "GIF"}
    assert set(modes) >= {"RGB", "RGBA", "L", "P", "CMYK", "1", "I;16"}
    assert set(orientations) == {1, 3, 6, 8}
    assert (max(sides), min(sides) <= 240) == (1600, True)
    assert (animated, progressive >= 3, tall >= 4) == (2, True, True)


def test_sizes_and_hashes_are_those_of_the_pictures(rows: tuple[DemoRow, ...]) -> None:
    for row in rows:
        if row.file:
            with opened(row.file) as image:
                assert (row.width, row.height) == image.size
                assert row.image_phash == str(imagehash.phash(image)), row.file


def test_text_columns_equal_their_definitions(table: pa.Table) -> None:
    for row in table.to_pylist():
        assert row["text_length"] == len(row["text"])
        assert row["word_count"] == len(re.findall(r"\w+", row["text"])) >= 3
        assert row["num_tokens_bert"] >= 3
        assert row["num_tokens_gpt"] >= 3


def test_captions_need_escaping(table: pa.Table) -> None:
    texts = table["text"].to_pylist()
    for needle in ("&amp;", "<script>", "<b>", '"', "“", "🌸"):
        assert any(needle in text for text in texts), needle
    assert max(map(len, texts)) >= 400


def test_near_duplicates_are_within_four_bits_and_others_are_not() -> None:
    hashes = {p.file: imagehash.phash(opened(p.file)) for p in demo_pictures()}
    pairs = {frozenset((p.file, p.near_duplicate_of)) for p in demo_pictures()}
    assert sum(p.near_duplicate_of is not None for p in demo_pictures()) >= 5
    for a in hashes:
        for b in hashes:
            if a < b:
                near = frozenset((a, b)) in pairs
                assert (hashes[a] - hashes[b] <= 4) == near, (a, b)


def test_schema_is_coyos_exactly(table: pa.Table) -> None:
    names = ["id", "url", "text", "width", "height", "image_phash", *INT32[2:], *FLOAT32]
    assert table.schema.names == names
    types = {name: pa.int32() for name in INT32} | {name: pa.float32() for name in FLOAT32}
    types |= {"id": pa.int64(), "url": pa.string(), "text": pa.string(), "image_phash": pa.string()}
    assert {field.name: field.type for field in table.schema} == types


def test_ids_look_like_sparks(table: pa.Table) -> None:
    ids = table["id"].to_pylist()
    assert ids == sorted(set(ids))
    assert min(ids) > 2**40
    assert len({i >> 33 for i in ids}) == 3
    assert ids[1] - ids[0] > 1 or ids[2] - ids[1] > 1


def test_every_picture_and_every_answer_occurs(rows: tuple[DemoRow, ...]) -> None:
    assert {row.file for row in rows if row.answer == "picture"} == {
        picture.file for picture in demo_pictures()
    }
    counts = Counter(row.answer for row in rows)
    assert set(counts) == set(get_args(Answer))
    assert sum(counts.values()) - counts["picture"] >= 15
    assert counts["placeholder"] >= 3


def test_urls_repeat_with_other_captions(table: pa.Table, rows: tuple[DemoRow, ...]) -> None:
    texts = defaultdict(list)
    for url, text in zip(table["url"].to_pylist(), table["text"].to_pylist(), strict=True):
        assert url.startswith(BASE + "/")
        texts[url].append(text)
    repeated = [found for found in texts.values() if len(found) > 1]
    assert len(repeated) >= 8
    assert max(map(len, repeated)) == 3
    assert all(len(set(found)) == len(found) for found in repeated)
    paths = defaultdict(set)
    for row in rows:
        paths[row.image_phash].add(row.path)
    assert sum(len(found) > 1 for found in paths.values()) >= 10


def test_vanished_urls_keep_the_hash_of_what_was_there(rows: tuple[DemoRow, ...]) -> None:
    shipped = {row.image_phash for row in rows if row.file}
    vanished = [row for row in rows if row.file is None]
    assert {"not_found", "placeholder"} <= {row.answer for row in vanished}
    assert all(row.image_phash not in shipped for row in vanished)
    assert str(imagehash.phash(opened(PLACEHOLDER_FILE))) in shipped


def test_invented_scores_have_the_published_means_and_holes(table: pa.Table) -> None:
    means = {
        "clip_similarity_vitb32": 0.291,
        "clip_similarity_vitl14": 0.255,
        "nsfw_score_opennsfw2": 0.0129,
        "watermark_score": 0.1785,
        "aesthetic_score_laion_v2": 4.77,
    }
    for name, mean in means.items():
        values = np.array(table[name].drop_null().to_pylist())
        assert np.nanmean(values) == pytest.approx(mean, rel=0.03), name
    for name in ("nsfw_score_opennsfw2", "nsfw_score_gantman", "watermark_score"):
        values = np.array(table[name].drop_null().to_pylist())
        assert values.min() >= 0
        assert values.max() < (1 if name == "watermark_score" else 0.5)
    assert sum(table[name].null_count for name in FLOAT32) == 5
    assert sum(math.isnan(v) for v in table[FLOAT32[-1]].to_pylist() if v is not None) == 1


def test_float16_columns_are_float16_valued(rows: tuple[DemoRow, ...]) -> None:
    scores = invented_scores(rows)
    for name in FLOAT32[:3]:
        for value in scores[name]:
            assert value is None or struct.unpack("e", struct.pack("e", value))[0] == value


def test_metadata_is_written_as_coyos_files_are(tmp_path: Path, table: pa.Table) -> None:
    paths = write_demo_metadata(tmp_path / "metadata", BASE)
    assert [path.name for path in paths] == [
        f"part-0000{n}-17da4908-939c-46e5-91d0-15f256041956-c000.snappy.parquet" for n in range(3)
    ]
    for path in paths:
        footer = pq.ParquetFile(path).metadata
        assert footer.num_row_groups in (2, 3)
        assert footer.row_group(0).column(0).compression == "SNAPPY"
    read = pa.concat_tables([pq.read_table(path) for path in paths])
    assert read.drop(FLOAT32[-1:]).equals(table.drop(FLOAT32[-1:]))  # the last holds a NaN


def test_same_base_url_gives_the_same_bytes(tmp_path: Path) -> None:
    first = write_demo_metadata(tmp_path / "a", BASE)
    second = write_demo_metadata(tmp_path / "b", BASE)
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
