"""`stats` against numpy and duckdb; its histograms as a shortcut for --top."""

from __future__ import annotations

import json
import math
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import coyo_tools
from coyo_tools import FilterSettings, StatsSettings
from coyo_tools.pieces import quantiles
from coyo_tools.stages.select import look
from coyo_tools.verbs import passes
from coyo_tools.verbs.stats import QUANTILES
from coyo_tools.words.errors import CorruptFile, SchemaError, SettingsConflict, SettingsError
from tests.metadata import INF, NAN, bytes_of, metadata, rows_of, write_parts

pytestmark = pytest.mark.usefixtures("in_small_bites")


def numeric(table: pa.Table) -> list[str]:
    return [f.name for f in table.schema if f.name != "id" and not pa.types.is_string(f.type)]


@pytest.mark.parametrize("held", [0, 9, 10**6])
@pytest.mark.parametrize("workers", [1, 3])
def test_every_figure_is_numpys(source, workers, held, monkeypatch):
    monkeypatch.setattr(quantiles, "HELD_AT_MOST", held)
    table = pa.concat_tables([pq.read_table(p) for p in sorted(source.glob("*.parquet"))])
    found = coyo_tools.stats(source, settings=StatsSettings(workers=workers))
    assert (found.rows, [c.name for c in found.columns]) == (801, numeric(table))
    for column in found.columns:
        whole = table[column.name].drop_null().to_numpy()
        values = whole[~np.isnan(whole)]
        assert column.nulls == table[column.name].null_count
        assert (column.nan, column.values) == (len(whole) - len(values), len(values))
        assert (column.minimum, column.maximum) == (values.min(), values.max())
        ranks = [max(0, math.ceil(q * len(values) / 100) - 1) for q in QUANTILES]
        assert list(column.quantiles.values()) == np.sort(values)[ranks].tolist()
        assert repr(column.mean) == repr(mean_of(values))


def mean_of(values: np.ndarray) -> float:
    """Rounded once: the sum by fsum, which is exact; infinities as floats add them."""
    if not np.isfinite(values).all():
        return sum(float(v) for v in values[~np.isfinite(values)])
    return math.fsum(values.tolist()) / len(values)


def test_the_files_are_the_same_on_any_number_of_workers(source, tmp_path):
    written = []
    for workers in (1, 2, 4):
        out = tmp_path / str(workers)
        result = coyo_tools.stats(source, out, StatsSettings(workers=workers))
        written.append(bytes_of(out))
    assert written[0] == written[1] == written[2]
    assert set(written[0]) == {"manifest.json", "stats.json", "histograms.npz"}
    again = coyo_tools.stats(source, out)
    assert repr(again.columns) == repr(result.columns)  # repr: NaN is a mean here
    assert len((out / "runs.jsonl").read_text().splitlines()) == 1
    with pytest.raises(SettingsConflict, match="limit_files"):
        coyo_tools.stats(source, out, StatsSettings(limit_files=1))


@pytest.mark.parametrize("by", ["clip_similarity_vitl14", "watermark_score", "width"])
@pytest.mark.parametrize("top", ["0.3%", "30%", 77, "100%"])
def test_a_top_with_the_histogram_is_the_same_and_spares_a_pass(
    source, tmp_path, by, top, monkeypatch
):
    looks = []

    def counted(part, what, **more):
        looks.append(what)
        return look(part, what, **more)

    coyo_tools.stats(source, tmp_path / "st")
    monkeypatch.setattr(passes, "look", counted)
    coyo_tools.filter(source, tmp_path / "a", top=top, by=by)
    without = len(looks)
    told = coyo_tools.filter(
        source, tmp_path / "b", FilterSettings(stats=str(tmp_path / "st")), top=top, by=by
    )
    assert len(looks) - without == without - 3  # three parts
    assert bytes_of(tmp_path / "a") == bytes_of(tmp_path / "b")
    assert told.notes == (f"top {top} by {by}: with the histogram of {tmp_path / 'st'}",)


def test_histograms_of_no_use_are_said(source, tmp_path):
    coyo_tools.stats(source, tmp_path / "st")
    rules = ({"max_faces": 1}, {"top": "30%", "by": "width"})
    asked = FilterSettings(stats=str(tmp_path / "st"), rules=rules)
    told = coyo_tools.filter(source, tmp_path / "a", asked)
    assert "of no use here" in told.notes[0]
    coyo_tools.filter(source, tmp_path / "b", FilterSettings(rules=rules))
    assert bytes_of(tmp_path / "a") == bytes_of(tmp_path / "b")


def test_histograms_of_another_source_are_refused(source, tmp_path):
    write_parts(tmp_path / "m", [metadata(100)])
    coyo_tools.stats(tmp_path / "m", tmp_path / "st")
    for place, said in ((tmp_path / "st", "holds the stats of another source or schema: its"),
                        (tmp_path / "m", "holds no finished `coyo stats`")):  # fmt: skip
        with pytest.raises(SettingsError, match=said):
            coyo_tools.filter(source, tmp_path / "s", FilterSettings(stats=str(place)),
                              top=1, by="width")  # fmt: skip
    assert not (tmp_path / "s").exists()


def test_broken_histograms_are_named(tmp_path):
    write_parts(tmp_path / "m", [metadata(100)])
    coyo_tools.stats(tmp_path / "m", tmp_path / "st")
    (tmp_path / "st" / "histograms.npz").write_bytes(b"PK")
    with pytest.raises(CorruptFile, match="its histograms cannot be read"):
        coyo_tools.filter(tmp_path / "m", tmp_path / "s", FilterSettings(
            stats=str(tmp_path / "st")), top=1, by="width")  # fmt: skip


def test_columns_of_nulls_of_other_types_and_none_at_all(tmp_path):
    scores = [INF, -INF, NAN, None]
    rows = rows_of(*[{"watermark_score": s, "num_faces": None} for s in scores])
    mine = rows.append_column("mine", pa.array([1.0, 2.0, 3.0, 4.0]))
    write_parts(tmp_path / "m", [mine, rows])
    found = coyo_tools.stats(tmp_path / "m", tmp_path / "st")
    columns = {column.name: column for column in found.columns}
    faces, marks = columns["num_faces"], columns["watermark_score"]
    assert (faces.values, faces.nulls, faces.minimum, faces.mean) == (0, 8, None, None)
    assert faces.quantiles == {}
    assert (marks.minimum, marks.maximum, marks.nan, marks.nulls) == (-INF, INF, 2, 2)
    assert math.isnan(marks.mean)
    assert found.notes == ("mine is left out: not every part has it as a number",)
    assert json.loads((tmp_path / "st" / "stats.json").read_text())["rows"] == 8
    write_parts(tmp_path / "t", [rows_of({}).select(["id", "url"])])
    with pytest.raises(SchemaError, match="has no numeric column"):
        coyo_tools.stats(tmp_path / "t")


def test_a_folder_is_made_again_where_a_file_has_gone(source, tmp_path):
    coyo_tools.stats(source, tmp_path / "st")
    before = bytes_of(tmp_path / "st")
    (tmp_path / "st" / "stats.json").unlink()
    coyo_tools.stats(source, tmp_path / "st")
    assert bytes_of(tmp_path / "st") == before
    shutil.rmtree(tmp_path / "st")


def test_float64_columns_with_many_equal_values(tmp_path, monkeypatch):
    monkeypatch.setattr(quantiles, "HELD_AT_MOST", 50)
    values = np.where(np.arange(2000) % 3 > 0, 0.1, np.random.default_rng(0).normal(size=2000))
    table = pa.table({"id": pa.array(range(2000)), "x": values})
    write_parts(tmp_path / "m", [table])
    (column,) = coyo_tools.stats(tmp_path / "m").columns
    wanted = np.quantile(values, [q / 100 for q in QUANTILES], method="inverted_cdf")
    assert list(column.quantiles.values()) == wanted.tolist()
    assert column.quantiles["50"] == 0.1
    assert column.mean == pytest.approx(pc.mean(table["x"]).as_py(), rel=1e-12)
