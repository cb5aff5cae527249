"""`plan` against `filter` and duckdb: the same rows, counted and not written."""

from __future__ import annotations

import json
import os
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import coyo_tools
from coyo_tools import FilterSettings, PlanSettings
from coyo_tools.pieces import distinct
from coyo_tools.pieces.bites import bites
from coyo_tools.stages import plan as stage
from coyo_tools.words.errors import RuleError, SchemaError, SettingsError
from tests.metadata import NAN, metadata, rows_of, write_parts
from tests.pieces.test_census import write as write_census

CONDITIONS = ("num_faces = 0", "width > 700", "watermark_score < 0.2", "text LIKE '%a%'",
              "clip_similarity_vitl14 > 0.25", "num_faces IS NULL OR height > 500",
              "true", "1 > 2")  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def small_bites():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "bites", lambda part, **named: bites(part, 150, **named))
        yield


@pytest.fixture(autouse=True)
def nothing_lies_about(tmp_path, monkeypatch):
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")


def holed(rows: int, seed: int) -> pa.Table:
    """COYO-like rows with nulls, NaN and repeated texts."""
    table, rng = metadata(rows, seed), np.random.default_rng(seed)
    odd = {"num_faces": None, "watermark_score": NAN, "width": None, "text": None, "url": None}
    for name, value in odd.items():
        at = table.schema.get_field_index(name)
        values = table[name].to_pylist()
        for row in rng.choice(rows, rows // 8, replace=False):
            values[row] = value
        table = table.set_column(at, name, pa.array(values, table.schema.field(name).type))
    return table


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("holed") / "metadata"
    write_parts(folder, [holed(500, 1), holed(9, 2), holed(300, 3)], row_group_size=64)
    return folder


@pytest.fixture(scope="module")
def by_width(source, tmp_path_factory) -> Path:
    """The same rows in an order that lets statistics rule row groups out."""
    folder = tmp_path_factory.mktemp("by_width") / "metadata"
    write_parts(folder, [pq.read_table(source).sort_by("width")], row_group_size=64)
    return folder


@pytest.fixture(scope="module")
def duck(source):
    connection = duckdb.connect()
    connection.execute(f"CREATE TABLE rows AS SELECT * FROM '{source}/*.parquet'")
    connection.execute("UPDATE rows SET watermark_score = NULL WHERE isnan(watermark_score)")
    yield connection
    connection.close()


@settings(max_examples=40, deadline=None)
@given(
    conditions=st.lists(st.sampled_from(CONDITIONS), max_size=4),
    workers=st.sampled_from([1, 3]),
    cap=st.sampled_from([10, 10**6]),
    in_order=st.booleans(),
)
def test_random_recipes_agree_with_duckdb(
    source, by_width, duck, conditions, workers, cap, in_order
):
    asked = FilterSettings(rules=tuple({"where": c} for c in conditions), workers=workers)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distinct, "_WAITING_AT_MOST", cap)
        found = coyo_tools.plan(by_width if in_order else source, asked)
    passes = [f"coalesce({c}, false)" for c in conditions] or ["true"]
    every = " AND ".join(passes)

    def rows(*where: str) -> int:
        return duck.execute(f"SELECT count(*) FROM rows WHERE {' AND '.join(where)}").fetchone()[0]

    kept = rows(every)
    assert (found.rows_in, found.rows_out, found.kept.value) == (809, kept, kept)
    for number, step in enumerate(found.funnel):
        before, fails = passes[:number], f"NOT {passes[number]}"
        expected = {
            "dropped": rows(*before, fails),
            "dropped_alone": rows(fails),
            "unique_kills": rows(*before, fails, *passes[number + 1 :]),
            "left": rows(*before, passes[number]),
        }
        assert step.to_dict() == step.to_dict() | expected
        assert {name: each.value for name, each in step.whole.items()} == expected
    for name in ("url", "image_phash", "text"):
        query = f"SELECT count(DISTINCT {name}) FROM rows WHERE {every}"
        assert found.unique[name].values == duck.execute(query).fetchone()[0]
        assert found.unique[name].exact
    assert found.download.urls.value == found.unique["url"].values


@pytest.mark.parametrize(
    "rules",
    [
        {},
        {"min_clip_l14": 0.25, "max_faces": 0, "max_nsfw": 0.5},
        {"where": ["width > 300"], "top": "30%", "by": "clip_similarity_vitl14", "max_faces": 1},
        {"top": 40, "by": "watermark_score", "sample": 17, "seed": 3},
        {"sample": "10%"},
        {"preset": "datacomp-l14-top30"},
    ],
)
def test_it_says_what_filter_then_does(source, tmp_path, rules):
    all_read = FilterSettings(statistics=False)
    planned = coyo_tools.plan(source, all_read, **rules)
    done = coyo_tools.filter(source, tmp_path / "s", all_read, **rules)
    assert tuple(each.step for each in planned.funnel) == done.funnel
    assert (planned.rows_in, planned.rows_out) == (done.rows_in, done.rows_out)
    assert [(f.name, f.kept) for f in planned.by_file] == [
        (path.name, pq.read_metadata(path).num_rows)
        for path in sorted((tmp_path / "s").glob("*.parquet"))
    ]


@pytest.mark.parametrize(
    "rules",
    [
        {"where": ["width > 700", "num_faces <= 1"]},
        {"max_faces": 0, "where": ["width > 700"]},
        {"min_clip_l14": 0.25, "top": 100, "by": "width"},
    ],
)
def test_a_plan_looks_where_the_filter_need_not(by_width, tmp_path, rules):
    planned = coyo_tools.plan(by_width, **rules)
    all_read = FilterSettings(statistics=False)
    done = coyo_tools.filter(by_width, tmp_path / "s", all_read, **rules)
    assert tuple(each.step for each in planned.funnel) == done.funnel
    some = coyo_tools.filter(by_width, tmp_path / "some", **rules)
    assert some.funnel != done.funnel
    assert planned.to_dict() | {"seconds": 0} == (
        coyo_tools.plan(by_width, all_read, **rules).to_dict() | {"seconds": 0}
    )


def test_what_the_only_rule_drops_unread_it_alone_kills(by_width):
    (step,) = coyo_tools.plan(by_width, where=["width > 9999"]).funnel
    assert (step.step.dropped, step.step.dropped_alone, step.unique_kills) == (809, 809, 809)
    assert step.whole["unique_kills"].value == 809


def test_a_recipe_and_stats_are_taken_as_filter_takes_them(source, tmp_path):
    (tmp_path / "r.yaml").write_text("filter: [{top: 20%, by: width}, {max_faces: 0}]\n")
    coyo_tools.stats(source, tmp_path / "st")
    rules = ({"recipe": str(tmp_path / "r.yaml")},)
    with_stats = FilterSettings(rules=rules, stats=str(tmp_path / "st"))
    told = coyo_tools.plan(source, with_stats)
    assert told.funnel == coyo_tools.plan(source, FilterSettings(rules=rules)).funnel
    assert told.funnel[0].step.left == 162  # floor(0.2 * 809 + 0.5)
    assert f"top 20% by width: with the histogram of {tmp_path / 'st'}" in told.notes
    with pytest.raises(SettingsError, match="holds no finished `coyo stats`"):
        coyo_tools.plan(source, FilterSettings(stats=str(tmp_path / "none")), top=9, by="width")
    assert not (tmp_path / "none").exists()


def test_nothing_is_written(source, tmp_path):
    before = sorted(p.name for p in tmp_path.rglob("*"))
    inside = {p: p.stat().st_mtime_ns for p in source.rglob("*")}
    coyo_tools.plan(source, max_faces=0, top=10, by="width")
    assert sorted(p.name for p in tmp_path.rglob("*")) == before
    assert {p: p.stat().st_mtime_ns for p in source.rglob("*")} == inside


def test_many_values_are_estimated_and_said_to_be(source, monkeypatch):
    monkeypatch.setattr(distinct, "HELD_AT_MOST", 100)
    found = coyo_tools.plan(source)
    assert not found.unique["url"].exact
    urls = found.download.urls
    assert urls.low < found.unique["url"].values < urls.high
    assert found.to_dict()["unique"]["url"]["method"] == "hyperloglog"


def test_what_is_not_wanted_is_not_read(source):
    bare = coyo_tools.plan(source, None, PlanSettings(uniques=False, disk=False), max_faces=0)
    assert (bare.columns, bare.unique, bare.disk) == (("num_faces",), {}, None)
    assert bare.download.urls == bare.kept
    full = coyo_tools.plan(source, max_faces=0)
    assert full.columns == ("num_faces", "url", "image_phash", "text", "width", "height")


def test_disk_is_of_the_kept_rows_at_the_asked_size(tmp_path):
    rows = [{"width": 800, "height": 400}, {"width": 300, "height": 200}, {"width": 9, "height": 9,
            "num_faces": 1}, {"width": None}]  # fmt: skip
    write_parts(tmp_path / "m", [rows_of(*rows)])
    found = coyo_tools.plan(tmp_path / "m", None, PlanSettings(image_size=256), max_faces=0).disk
    pixels = (512 * 256 + 300 * 200) / 2 * 3  # the third kept row has no size
    assert found.bytes.value == pytest.approx(pixels * 0.406 + 3 * 3600)


@pytest.mark.parametrize("rule", ["width > 400", "height > 400", "num_faces = 0", "true"])
def test_sizes_are_right_whichever_of_them_a_rule_reads(tmp_path, rule):
    write_parts(tmp_path / "m", [metadata(700, 4)], row_group_size=40)
    (found,) = (coyo_tools.plan(tmp_path / "m", where=[rule]).disk,)
    pixels = duckdb.sql(
        f"SELECT sum(width * height * least(1, 384 / least(width, height)) ** 2), count(*) "
        f"FROM '{tmp_path}/m/*.parquet' WHERE {rule}"
    ).fetchall()[0]
    assert found.bytes.value == pytest.approx(pixels[0] * 0.363 + pixels[1] * 3600, rel=1e-5)


# Samples of files.


@pytest.fixture(scope="module")
def many(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("many") / "metadata"
    folder.mkdir()
    for n in range(24):
        pq.write_table(metadata(300 + 10 * n, n), folder / f"part-{n:05d}.parquet")
    return folder


def test_a_sample_of_files_stands_for_all_with_an_interval(many):
    asked = FilterSettings(limit_files=8)
    sample = coyo_tools.plan(many, asked, min_clip_l14=0.25, max_faces=0)
    whole = coyo_tools.plan(many, min_clip_l14=0.25, max_faces=0)
    assert (sample.sampled, whole.sampled) == (True, False)
    assert (sample.files, sample.rows, len(sample.by_file)) == (24, whole.rows_in, 8)
    assert [f.name for f in sample.by_file] != [f"part-{n:05d}.parquet" for n in range(8)]
    for before, after in zip(sample.funnel, whole.funnel, strict=True):
        for name, estimate in before.whole.items():
            assert estimate.low <= after.whole[name].value <= estimate.high
            assert not estimate.exact
    assert whole.kept.exact
    assert sample.disk.bytes.low < whole.disk.bytes.value < sample.disk.bytes.high
    urls = sample.download.urls
    assert sample.unique["url"].values == urls.low <= whole.unique["url"].values <= urls.high


def test_a_count_of_rows_is_scaled_to_the_sample_and_said(many):
    sample = coyo_tools.plan(many, FilterSettings(limit_files=6), top=2400, by="width")
    rows = round(2400 * sample.rows_in / sample.rows)
    assert sample.rows_out == rows
    assert sample.kept.value == pytest.approx(2400, abs=5)
    assert sample.notes == (f"top 2,400 by width: {rows} rows of the files looked at stand for it",)


def test_nothing_kept_in_the_sample_is_not_nothing_for_certain(many):
    sample = coyo_tools.plan(many, FilterSettings(limit_files=6), where=["width < 0"])
    assert (sample.rows_out, sample.kept.value, sample.kept.low) == (0, 0, 0)
    assert 0 < sample.kept.high < 100
    assert sample.download.urls == sample.kept


def test_the_files_drawn_do_not_depend_on_workers_nor_on_the_limit_above_all(many):
    a, b = (coyo_tools.plan(many, FilterSettings(limit_files=5, workers=n), max_faces=0).to_dict()
            for n in (1, 4))  # fmt: skip
    assert a | {"seconds": 0} == b | {"seconds": 0}
    assert not coyo_tools.plan(many, FilterSettings(limit_files=99)).sampled


# The census.


def test_bytes_and_hours_come_from_the_census_named_or_found(source, tmp_path):
    assert coyo_tools.plan(source).download.census is None
    here = write_census(Path.cwd() / "census", source=str(source))
    found = coyo_tools.plan(source)
    assert found.download.census.place == str(here)
    assert found.download.bytes.value == pytest.approx(found.unique["url"].values * 0.62 * 181_000)
    assert found.notes == ()
    assert found.disk.stored.value == pytest.approx(0.62 * found.disk.bytes.value)
    other = write_census(tmp_path / "other", urls=5)
    named = coyo_tools.plan(source, None, PlanSettings(census=str(tmp_path / "other")))
    assert named.download.census.urls == 5
    assert named.notes == (f"{other} is the census of hf://datasets/a/b",)
    with pytest.raises(SettingsError, match="holds no census"):
        coyo_tools.plan(source, None, PlanSettings(census=str(tmp_path)))


# What cannot be.


def test_columns_that_are_lacking_are_said(tmp_path):
    bare = rows_of({}, {}).select(["id", "num_faces", "url", "width"])
    write_parts(tmp_path / "m", [bare])
    found = coyo_tools.plan(tmp_path / "m", max_faces=0)
    assert (set(found.unique), found.disk) == ({"url"}, None)
    assert found.notes == (
        "not every file has image_phash, text: nothing is said of it",
        "not every file has height: nothing is said of it",
    )


@pytest.mark.parametrize(
    ("given", "raised", "said"),
    [
        ({"where": ["num_facess = 0"]}, RuleError, "did you mean 'num_faces'"),
        ({"top": "30%", "by": "nothing"}, SchemaError, "has no column 'nothing'"),
        ({"settings": FilterSettings(columns=("txt",))}, SchemaError, "did you mean 'text'"),
    ],
)
def test_faults_are_those_of_filter(source, given, raised, said):
    with pytest.raises(raised, match=said):
        coyo_tools.plan(source, **given)


def test_sources_without_rows(tmp_path):
    write_parts(tmp_path / "m", [rows_of(), rows_of()])
    for limit in (None, 1):
        found = coyo_tools.plan(tmp_path / "m", FilterSettings(limit_files=limit), max_faces=0)
        assert (found.rows, found.rows_out, found.kept.value) == (0, 0, 0)
        json.dumps(found.to_dict())


def test_a_part_that_breaks_midway_is_named(tmp_path):
    write_parts(tmp_path / "m", [metadata(3000)])
    path = tmp_path / "m" / "part-0.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 3 : len(data) // 2] = os.urandom(len(data) // 2 - len(data) // 3)
    path.write_bytes(data)
    with pytest.raises(coyo_tools.CoyoError, match=r"part-0\.parquet"):
        coyo_tools.plan(tmp_path / "m", text_matches=["a"])
