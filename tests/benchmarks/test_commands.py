"""The commands that benchmarks time do the work that their tables say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks import harness
from tests.metadata import metadata, write_parts

FOLDER = Path(harness.__file__).parent
ROWS = 3000


@pytest.fixture
def scripts(tmp_path, monkeypatch):
    """The modules, found as a script finds its neighbours; what they write goes elsewhere."""
    monkeypatch.syspath_prepend(str(FOLDER))
    import bench_stats
    import bench_top

    monkeypatch.setattr(bench_top, "WRITTEN", tmp_path / "written")
    monkeypatch.setattr(bench_top, "STATS", tmp_path / "stats")
    yield bench_top, bench_stats
    for name in ("bench_top", "bench_stats", "harness"):
        sys.modules.pop(name, None)


def run(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_each_tool_keeps_the_top(scripts, tmp_path):
    bench_top, _ = scripts
    whole = metadata(ROWS)
    write_parts(tmp_path / "m", [whole.slice(0, 2000), whole.slice(2000)])
    column = "clip_similarity_vitl14"
    cut = bench_top.cut_of(tmp_path / "m", column)
    wanted = sum(value >= cut for value in whole[column].to_pylist())
    for name, command in bench_top.commands(tmp_path / "m", column, cut).items():
        bench_top.fresh("")
        run(command)
        paths = sorted((tmp_path / "written").rglob("*.parquet"))
        kept = pa.concat_tables([pq.read_table(path) for path in paths])
        assert kept.num_columns == whole.num_columns
        assert kept.num_rows == (0.3 * ROWS if "--top" in name else wanted), name
        assert min(kept[column].to_pylist()) == cut


def test_each_tool_looks_at_every_number(scripts, tmp_path):
    _, bench_stats = scripts
    whole = metadata(ROWS)
    write_parts(tmp_path / "m", [whole])
    said = {name: run(command) for name, command in bench_stats.commands(tmp_path / "m").items()}
    assert set(bench_stats.COLUMNS) == {
        f.name for f in whole.schema if f.name != "id" and not pa.types.is_string(f.type)
    }
    largest = max(whole["width"].to_pylist())
    for name, printed in said.items():
        assert str(largest) in printed, name
    assert all(column in said["coyo stats"] for column in bench_stats.COLUMNS)
