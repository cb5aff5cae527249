"""The columns of COYO-700M and of its neighbours."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from coyo_tools.words.schema import COYO, COYO_COLUMNS, CUT_UPSTREAM, SCHEMAS, Column


def test_the_seventeen_columns_in_the_published_order() -> None:
    assert list(COYO) == [
        "id", "url", "text", "width", "height", "image_phash", "text_length", "word_count",
        "num_tokens_bert", "num_tokens_gpt", "num_faces", "clip_similarity_vitb32",
        "clip_similarity_vitl14", "nsfw_score_opennsfw2", "nsfw_score_gantman",
        "watermark_score", "aesthetic_score_laion_v2",
    ]  # fmt: skip


@pytest.mark.parametrize("column", COYO_COLUMNS, ids=lambda column: column.name)
def test_each_column_is_well_formed(column: Column) -> None:
    assert str(pa.type_for_alias(column.dtype)) in ("int64", "int32", "float", "string")
    assert column.meaning
    assert "|" not in column.meaning  # it is put into a table
    assert column.is_number == (column.dtype in ("int32", "float32"))


def test_ids_are_never_narrower_than_64_bits() -> None:
    assert COYO["id"].dtype == "int64"
    assert not COYO["id"].is_number


@pytest.mark.parametrize("name", SCHEMAS)
def test_neighbours_names_lead_to_coyos(name: str) -> None:
    aliases = SCHEMAS[name]
    assert set(aliases.values()) <= set(COYO)
    assert len(set(aliases.values())) == len(aliases)
    assert not set(aliases) & set(COYO)


def test_what_was_cut_upstream_names_columns() -> None:
    for column, operator, _ in CUT_UPSTREAM:
        assert column in COYO or column == "aspect_ratio"
        assert operator in ("<=", ">=")


def test_the_published_rows_have_these_columns() -> None:
    place = os.environ.get("COYO_TEST_DATA")
    if not place:
        pytest.skip("COYO_TEST_DATA names no folder with published_rows.json")
    rows: list[dict[str, Any]] = json.loads(Path(place, "published_rows.json").read_text())
    assert rows
    for row in rows:
        assert set(row) & set(COYO)
        for name in set(row) & set(COYO):
            if COYO[name].float16_valued:
                rounded = float(np.float16(row[name]))
                assert rounded == pytest.approx(row[name], abs=1e-6)  # six decimals are published
