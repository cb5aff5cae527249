"""What `plan` fetches of a remote source: the columns that it names, and no more."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import coyo_tools
from coyo_tools import FilterSettings, PlanSettings
from tests.metadata import metadata
from tests.servers.files import FileServer


def column_bytes(path: Path, groups: list[int], columns: tuple[str, ...]) -> int:
    footer = pq.read_metadata(path)
    chunks = [
        footer.row_group(group).column(n)
        for group in groups
        for n in range(footer.num_columns)
        if footer.row_group(group).column(n).path_in_schema in columns
    ]
    return sum(chunk.total_compressed_size for chunk in chunks)


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Path:
    """One part of 8 row groups; only rows of groups 2, 3 and 6 have faces."""
    folder = tmp_path_factory.mktemp("served")
    table = metadata(16_000, 5)
    group = np.arange(16_000) // 2000
    faces = np.where(np.isin(group, [2, 3, 6]) & (np.arange(16_000) % 7 == 0), 3, 0)
    at = table.schema.get_field_index("num_faces")
    table = table.set_column(at, "num_faces", pa.array(faces, pa.int32()))
    pq.write_table(table, folder / "p.parquet", row_group_size=2000)
    return folder / "p.parquet"


@pytest.mark.parametrize(
    ("wanted", "rules", "everywhere", "where_kept"),
    [
        (PlanSettings(), {"min_faces": 3}, ("num_faces",),
         ("url", "image_phash", "text", "width", "height")),
        (PlanSettings(disk=False), {"min_faces": 3, "text_excludes": ["zzz"]},
         ("num_faces", "text"), ("url", "image_phash")),
        (PlanSettings(uniques=False), {"where": ["num_faces = 3 AND width > 1"]},
         ("num_faces", "width", "height"), ()),
        (PlanSettings(uniques=False, disk=False), {"min_faces": 3, "max_watermark": 1},
         ("num_faces", "watermark_score"), ()),
        (PlanSettings(), {"min_faces": 4}, ("num_faces",), ()),
        (PlanSettings(), {"min_faces": 3, "top": "20%", "by": "width"},
         ("num_faces", "width", "height"), ("url", "image_phash", "text")),
    ],
)  # fmt: skip
def test_no_more_is_fetched_than_the_columns_named(
    served, wanted, rules, everywhere, where_kept, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)  # where no census lies about
    all_groups = FilterSettings(statistics=False)
    named = column_bytes(served, list(range(8)), everywhere)
    named += column_bytes(served, [2, 3, 6], where_kept)
    with FileServer(served.parent) as server:
        url = f"{server.base_url}/files/p.parquet"
        footer = coyo_tools.inspect(url).fetched.bytes
        found = coyo_tools.plan(url, all_groups, wanted, **rules)
        less = coyo_tools.plan(url, None, wanted, **rules)
        assert less.fetched.bytes <= found.fetched.bytes
        assert found.fetched.bytes + less.fetched.bytes == pytest.approx(
            server.bytes_sent - footer, abs=99
        )
    assert named <= found.fetched.bytes - footer <= 1.05 * named
    here, moving = (
        coyo_tools.plan(served, all_groups, wanted, **rules),
        ("source", "seconds", "fetched"),
    )
    assert here.to_dict() | dict.fromkeys(moving) == found.to_dict() | dict.fromkeys(moving)
