"""filter with a real S3 server on either side, and from plain HTTP."""

from __future__ import annotations

import json

import pytest

import coyo_tools
from coyo_tools import FilterSettings
from coyo_tools.words.errors import CorruptFile, SourceNotFound
from tests.metadata import ids_in, metadata, write_parts
from tests.servers.folder import FolderServer
from tests.servers.gcs import gcs_server
from tests.servers.s3 import s3_server


@pytest.fixture
def bucket(monkeypatch, tmp_path):
    with s3_server(monkeypatch):
        import s3fs

        fs = s3fs.S3FileSystem()
        write_parts(tmp_path / "m", [metadata(800, 1), metadata(700, 2)], row_group_size=300)
        fs.put(str(tmp_path / "m"), "bucket/metadata", recursive=True)
        yield fs


def test_from_s3_to_s3_gives_what_local_files_give(bucket, tmp_path):
    here = coyo_tools.filter(tmp_path / "m", tmp_path / "s", min_clip_l14=0.25)
    there = coyo_tools.filter("s3://bucket/metadata", "s3://bucket/subset", min_clip_l14=0.25)
    assert (there.funnel, there.digest, there.bytes) == (here.funnel, here.digest, here.bytes)
    names = sorted(path.rsplit("/", 1)[-1] for path in bucket.ls("bucket/subset"))
    assert names == ["manifest.json", "part-0.parquet", "part-1.parquet", "runs.jsonl"]
    for name in ("part-0.parquet", "part-1.parquet"):
        assert bucket.cat_file(f"bucket/subset/{name}") == (tmp_path / "s" / name).read_bytes()
    seen = coyo_tools.inspect("s3://bucket/subset")
    assert (seen.rows, seen.made_by) == (here.rows_out, "filter")


def test_from_gcs_to_gcs_gives_what_local_files_give(tmp_path, monkeypatch):
    write_parts(tmp_path / "m", [metadata(800, 1), metadata(700, 2)], row_group_size=300)
    here = coyo_tools.filter(tmp_path / "m", tmp_path / "s", min_clip_l14=0.25)
    with gcs_server(monkeypatch):
        import gcsfs

        fs = gcsfs.GCSFileSystem()
        for path in (tmp_path / "m").iterdir():
            fs.put_file(str(path), f"bucket/metadata/{path.name}")
        there = coyo_tools.filter("gs://bucket/metadata", "gs://bucket/s", min_clip_l14=0.25)
        assert (there.funnel, there.digest, there.bytes) == (here.funnel, here.digest, here.bytes)
        for name in ("part-0.parquet", "part-1.parquet"):
            assert fs.cat_file(f"bucket/s/{name}") == (tmp_path / "s" / name).read_bytes()
        assert coyo_tools.filter(
            "gs://bucket/metadata", "gs://bucket/s", min_clip_l14=0.25
        ).complete_before
        with pytest.raises(SourceNotFound, match="gs://bucket/nothing"):
            coyo_tools.filter("gs://bucket/nothing", tmp_path / "n")


@pytest.mark.parametrize("columns", [None, ("url",)])
def test_a_part_that_is_missing_on_s3_is_made_again(bucket, columns):
    wanted = FilterSettings(columns=columns)
    first = coyo_tools.filter("s3://bucket/metadata", "s3://bucket/s", wanted, max_watermark=0.3)
    before = bucket.cat_file("bucket/s/part-1.parquet")
    kept = bucket.info("bucket/s/part-0.parquet")["LastModified"]
    bucket.rm_file("bucket/s/part-1.parquet")
    again = coyo_tools.filter("s3://bucket/metadata", "s3://bucket/s", wanted, max_watermark=0.3)
    assert (again.digest, again.bytes) == (first.digest, first.bytes)
    assert bucket.cat_file("bucket/s/part-1.parquet") == before
    bucket.invalidate_cache()
    assert bucket.info("bucket/s/part-0.parquet")["LastModified"] == kept
    done = coyo_tools.filter("s3://bucket/metadata", "s3://bucket/s", wanted, max_watermark=0.3)
    assert done.complete_before


def test_mixed_sides_and_globs(bucket, tmp_path):
    down = coyo_tools.filter("s3://bucket/metadata/part-[0].parquet", tmp_path / "s", max_faces=0)
    assert down.rows_in == 800
    up = coyo_tools.filter(tmp_path / "s", "s3://bucket/up", min_side=300)
    assert up.rows_in == down.rows_out == len(ids_in(tmp_path / "s"))
    manifest = json.loads(bucket.cat_file("bucket/up/manifest.json"))
    assert manifest["complete"] is True


def test_faults_on_s3_are_sentences(bucket, tmp_path):
    with pytest.raises(SourceNotFound, match="s3://bucket/nowhere"):
        coyo_tools.filter("s3://bucket/nowhere", tmp_path / "s")
    data = bucket.cat_file("bucket/metadata/part-1.parquet")
    bucket.pipe_file("bucket/metadata/part-1.parquet", data[:-9])
    with pytest.raises(CorruptFile, match=r"part-1\.parquet: is truncated"):
        coyo_tools.filter("s3://bucket/metadata", tmp_path / "s")


def test_tops_stats_and_recipes_on_s3(bucket, tmp_path):
    named = {"top": "10%", "by": "watermark_score", "sample": 50, "seed": 2}
    here = coyo_tools.filter(tmp_path / "m", tmp_path / "s", **named)
    coyo_tools.stats(tmp_path / "m", tmp_path / "st")
    coyo_tools.stats("s3://bucket/metadata", "s3://bucket/stats")
    assert (
        bucket.cat_file("bucket/stats/histograms.npz")
        == (tmp_path / "st" / "histograms.npz").read_bytes()
    )
    bucket.pipe_file(
        "bucket/r.yaml",
        b"source: s3://bucket/metadata\nfilter: [{top: 10%, by: watermark_score}]\n"
        b"sample: {rows: 50, seed: 2}\n",
    )
    ran = coyo_tools.run("s3://bucket/r.yaml", "s3://bucket/out")
    assert (ran.steps[0].result.digest, ran.steps[0].result.rows_out) == (here.digest, 50)
    again = coyo_tools.run("s3://bucket/out/subset/manifest.json", tmp_path / "again")
    assert again.differs is None
    kept = FilterSettings(stats="s3://bucket/stats")
    told = coyo_tools.filter("s3://bucket/metadata", tmp_path / "t", kept, **named)
    assert (told.digest, len(told.notes)) == (here.digest, 1)


@pytest.mark.parametrize(
    ("place", "rows"), [("m", 150), ("m/*.parquet", 150), ("m/part-1.parquet", 50)]
)
def test_a_folder_a_glob_and_a_file_over_http(tmp_path, place, rows):
    write_parts(tmp_path / "m", [metadata(100, 1), metadata(50, 2)])
    with FolderServer(tmp_path) as server:
        read = coyo_tools.filter(f"{server.base_url}/{place}", tmp_path / "s", max_watermark=0.3)
        seen = coyo_tools.inspect(f"{server.base_url}/{place}")
    names = [f"part-{n}.parquet" for n in ((1,) if rows == 50 else (0, 1))]
    assert sorted(path.name for path in (tmp_path / "s").glob("*.parquet")) == names
    sizes = [path.stat().st_size for path in sorted((tmp_path / "m").iterdir())]
    assert (read.rows_in, seen.rows) == (rows, rows)
    assert seen.bytes == sum(sizes[-seen.files :])


def test_odd_names_over_http_are_the_files_own(tmp_path):
    (tmp_path / "m").mkdir()
    names = ["100%25.parquet", "a b.parquet", "é#2?.parquet"]
    for name, path in zip(names, write_parts(tmp_path, [metadata(9)] * 3), strict=True):
        path.rename(tmp_path / "m" / name)
    with FolderServer(tmp_path / "m") as server:
        read = coyo_tools.filter(server.base_url, tmp_path / "s", max_watermark=0.9)
    here = coyo_tools.filter(tmp_path / "m", tmp_path / "t", max_watermark=0.9)
    assert read.digest == here.digest
    for out in ("s", "t"):
        assert sorted(path.name for path in (tmp_path / out).glob("*.parquet")) == names


def test_histograms_of_s3_are_kept_in_the_cache(bucket, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    kept = coyo_tools.stats("s3://bucket/metadata", keep=True)
    assert kept.out.startswith(str(tmp_path / "cache" / "coyo-tools" / "stats"))
    told = coyo_tools.filter("s3://bucket/metadata", tmp_path / "s", top="20%", by="width")
    assert f"top 20% by width: with the histogram of {kept.out}" in told.notes
    coyo_tools.filter(tmp_path / "m", tmp_path / "here", top="20%", by="width")
    assert ids_in(tmp_path / "s") == ids_in(tmp_path / "here")


def test_a_difference_on_s3_is_that_of_local_folders(bucket, tmp_path):
    lean = FilterSettings(columns=("id",))
    for root, source in ((tmp_path, tmp_path / "m"), ("s3://bucket", "s3://bucket/metadata")):
        coyo_tools.filter(source, f"{root}/a", lean, max_faces=0)
        coyo_tools.filter(source, f"{root}/b", lean, top="30%", by="width")
    here = coyo_tools.diff(tmp_path / "a", tmp_path / "b", tmp_path / "d")
    there = coyo_tools.diff("s3://bucket/a", "s3://bucket/b", "s3://bucket/d")
    assert here.only_a.ids > 0
    assert (here.fetched, there.fetched.requests > 0) == (None, True)
    assert (there.both, there.only_a.reasons) == (here.both, here.only_a.reasons)
    assert there.only_b.reasons == here.only_b.reasons
    assert (
        bucket.cat_file("bucket/d/only_a.parquet")
        == (tmp_path / "d" / "only_a.parquet").read_bytes()
    )
