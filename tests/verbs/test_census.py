"""`census` from end to end: which urls are asked, what is said of them, and what a plan takes."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from coyo_tools import CensusSettings, DownloadSettings, FilterSettings
from coyo_tools.cli.download import command
from coyo_tools.machinery.storage import folder_at
from coyo_tools.pieces.census import census_at
from coyo_tools.pieces.sampling import hash_of
from coyo_tools.verbs.census import census
from coyo_tools.verbs.download import download
from coyo_tools.verbs.plan import plan
from coyo_tools.words.errors import SettingsConflict, SourceError
from tests.servers.pictures import PictureServer
from tests.servers.raw import RawServer, sends
from tests.servers.s3 import s3_server
from tests.tables import coyo_table, write_parts


def settings(**changed) -> DownloadSettings:
    defaults = {"allow_private_addresses": True, "image_size": 64, "processes": 1, "timeout_s": 5.0}
    return DownloadSettings(**{**defaults, **changed})


@pytest.fixture(scope="module")
def server():
    with PictureServer() as running:
        yield running


def asked(folder) -> pa.Table:
    return pa.concat_tables(pq.read_table(p) for p in sorted(folder.glob("*.parquet")))


def test_which_urls_are_asked_follows_from_ids_and_seed_alone(server, tmp_path):
    urls = server.urls(300)
    metadata = coyo_table([*urls, *urls[:90]])  # the first ones come again
    write_parts(tmp_path / "in", metadata, parts=3, row_group_rows=40)
    first = dict(zip(metadata.column("id").to_pylist()[:300], urls, strict=True))
    for seed in (0, 7):
        wanted = CensusSettings(urls=60, seed=seed)
        found = census(tmp_path / "in", tmp_path / f"c{seed}", wanted, settings())
        table = asked(tmp_path / f"c{seed}")
        smallest = sorted(first, key=lambda id: hash_of(id, seed))[:60]
        assert table.column("id").to_pylist() == sorted(smallest)
        assert table.column("url").to_pylist() == [first[id] for id in sorted(smallest)]
        assert (found.figures.urls, found.rows, found.different_urls) == (60, 390, 300)
    assert (
        json.loads((tmp_path / "c0/manifest.json").read_text())["digest"]
        != (json.loads((tmp_path / "c7/manifest.json").read_text())["digest"])
    )


def test_what_it_says_is_what_a_download_comes_to(server, tmp_path):
    write_parts(tmp_path / "in", coyo_table(server.urls(300)), parts=2)
    everything = CensusSettings(urls=5_000)
    found = census(tmp_path / "in", tmp_path / "c", everything, settings(processes=2))
    whole = download(tmp_path / "in", tmp_path / "s", settings(samples_per_shard=100))
    assert found.figures.outcomes == {"success": whole.successes, **whole.by_error}
    assert found.figures.alive.value == whole.successes / 300
    shown = json.loads((tmp_path / "c/census.json").read_text())
    assert shown == found.to_dict()
    assert shown["opt_outs"]["value"] == 0
    assert [h["urls"] for h in shown["hosts"]] == [300]
    assert list(shown["by_score"]) == [
        "clip_similarity_vitb32", "clip_similarity_vitl14", "nsfw_score_opennsfw2",
        "nsfw_score_gantman", "watermark_score", "aesthetic_score_laion_v2",
    ]  # fmt: skip
    for cells in shown["by_score"].values():
        assert sum(cell["urls"] for cell in cells) == 300
        kept = sum(round(cell["urls"] * cell["alive"]["value"]) for cell in cells)
        assert kept == whole.successes
    fetched = sum(asked(tmp_path / "c").column("fetched_bytes").to_pylist())
    assert found.figures.bytes_per_image.value == pytest.approx(fetched / whole.successes)
    # The disk it foresees: tars and, by the bytes beside each picture, the rest of the shards.
    assert found.disk.value == pytest.approx(whole.bytes, rel=0.3)
    assert not list((tmp_path / "c").glob("*.tar"))


def test_parts_may_differ_in_types(server, tmp_path):
    table = coyo_table(server.urls(9))
    first, second = table.slice(0, 4), table.slice(4)
    (tmp_path / "in").mkdir()
    pq.write_table(first.append_column("x", pa.array([1] * 4)), tmp_path / "in/a.parquet")
    pq.write_table(second.append_column("x", pa.array([4.5] * 5)), tmp_path / "in/b.parquet")
    found = census(tmp_path / "in", tmp_path / "c", CensusSettings(urls=9), settings())
    assert sum(found.figures.outcomes.values()) == 9
    assert sorted(asked(tmp_path / "c").column("x").to_pylist()) == [1.0] * 4 + [4.5] * 5


def test_a_part_that_was_cut_is_asked_again(server, tmp_path):
    write_parts(tmp_path / "in", coyo_table(server.urls(9)), parts=1)
    found = census(tmp_path / "in", tmp_path / "c", None, settings())
    os.truncate(tmp_path / "c/00000.parquet", 100)
    again = census(tmp_path / "in", tmp_path / "c", None, settings())
    assert again.figures.outcomes == found.figures.outcomes
    assert len(asked(tmp_path / "c")) == 9


def test_a_census_lies_in_an_object_store_too(server, tmp_path, monkeypatch):
    write_parts(tmp_path / "in", coyo_table(server.urls(100)), parts=1)
    wanted = CensusSettings(urls=60)
    local = census(tmp_path / "in", tmp_path / "c", wanted, settings())
    with s3_server(monkeypatch):
        remote = census(tmp_path / "in", "s3://bucket/c", wanted, settings())
        assert remote.figures.outcomes == local.figures.outcomes
        assert census_at("s3://bucket/c").alive == local.figures.alive
        folder = folder_at("s3://bucket/c")
        names = [name for name in folder.names() if name.endswith(".parquet")]
        assert names
        there = [pq.read_table(io.BytesIO(folder.read_bytes(name))) for name in sorted(names)]
        told = ["id", "url", "status", "error"]  # how long each took differs
        assert pa.concat_tables(there).select(told) == asked(tmp_path / "c").select(told)
        server.hits.clear()
        again = census(tmp_path / "in", "s3://bucket/c", wanted, settings())
        assert again.figures == remote.figures
        assert not server.hits


def test_a_plan_takes_it(server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_parts(tmp_path / "in", coyo_table(server.urls(100)), parts=1)
    made = census(tmp_path / "in", tmp_path / "c", CensusSettings(urls=80), settings())
    read = census_at(str(tmp_path / "c"))
    assert (read.urls, read.alive) == (80, made.figures.alive)
    assert read.bytes_per_image == made.figures.bytes_per_image
    assert read.images_per_s == made.figures.images_per_s
    found = plan(tmp_path / "in", FilterSettings())
    assert found.download.census == read
    assert found.download.pictures == made.expected.pictures
    assert found.download.hours == made.expected.hours
    assert not [note for note in found.notes if "census" in note]


def test_interrupted_it_asks_what_is_missing(tmp_path):
    with PictureServer() as counting:
        write_parts(tmp_path / "in", coyo_table(counting.urls(600)), parts=1)
        wanted = CensusSettings(urls=600)
        before = census(tmp_path / "in", tmp_path / "c", wanted, settings())
        (tmp_path / "c/00001_stats.json").unlink()
        manifest = json.loads((tmp_path / "c/manifest.json").read_text())
        (tmp_path / "c/manifest.json").write_text(json.dumps(manifest | {"complete": False}))
        counting.hits.clear()
        again = census(tmp_path / "in", tmp_path / "c", wanted, settings())
        assert counting.hits == Counter({f"/p/{n}.jpg": 1 for n in range(250, 500)})
        assert again.figures.outcomes == before.figures.outcomes
        assert json.loads((tmp_path / "c/manifest.json").read_text()) == manifest
        counting.hits.clear()
        done = census(tmp_path / "in", tmp_path / "c", wanted, settings())
        assert done.to_dict() == again.to_dict()
        assert not counting.hits
        with pytest.raises(SettingsConflict, match="census"):
            census(tmp_path / "in", tmp_path / "c", CensusSettings(urls=599), settings())
        with pytest.raises(SettingsConflict, match="it was made by `coyo download --census`"):
            download(tmp_path / "in", tmp_path / "c", settings())
        census(tmp_path / "in", tmp_path / "c", CensusSettings(5), settings(), overwrite=True)
        assert asked(tmp_path / "c").num_rows == 5


def test_killed_it_goes_on(tmp_path):
    with PictureServer(delay_s=0.02) as slow:
        write_parts(tmp_path / "in", coyo_table(slow.urls(700)), parts=1)
        line = [sys.executable, "-m", "coyo_tools", "download", str(tmp_path / "in"), "-o",
                str(tmp_path / "c"), "--census", "700", "--allow-private-addresses",
                "--processes", "1", "--connections", "4"]  # fmt: skip
        with subprocess.Popen(line, stderr=subprocess.PIPE) as running:
            for _ in range(600):
                if (tmp_path / "c/00000_stats.json").exists():
                    break
                time.sleep(0.05)
            running.kill()
        assert not (tmp_path / "c/census.json").exists()
        done = subprocess.run([*line, "--json"], capture_output=True, check=True)
    said = json.loads(done.stdout)
    assert said["urls"] == sum(said["outcomes"].values()) == 700
    assert said["outcomes"] == {"success": 602, "http_404": 70, "not_an_image": 28}
    first = json.loads((tmp_path / "c/00000_stats.json").read_text())
    assert said["seconds"] >= first["duration"]


def test_opt_outs_are_honoured_and_counted(tmp_path):
    head = "HTTP/1.1 200 OK\r\nX-Robots-Tag: noai\r\nContent-Length: 2\r\n\r\nno"
    with RawServer({f"/{n}": sends(head.encode()) for n in range(4)}) as forbidding:
        urls = [f"{forbidding.base_url}/{n}" for n in range(4)]
        write_parts(tmp_path / "in", coyo_table(urls), parts=1)
        found = census(tmp_path / "in", tmp_path / "c", None, settings())
    assert found.figures.outcomes == {"success": 0, "opt_out": 4}
    assert found.figures.opt_outs.value == 1.0
    assert found.figures.alive.high < 0.5
    assert found.expected.hours is None
    assert census_at(str(tmp_path / "c")).alive.value == 0


def test_rows_without_an_id_go_by_their_number(server, tmp_path):
    metadata = coyo_table(server.urls(40)).drop_columns(["id"])
    write_parts(tmp_path / "in", metadata, parts=2)
    census(tmp_path / "in", tmp_path / "c", CensusSettings(urls=10), settings())
    rows = sorted(range(40), key=hash_of)[:10]
    assert asked(tmp_path / "c").column("id").to_pylist() == sorted(rows)


def test_nothing_to_ask_is_said(tmp_path):
    write_parts(tmp_path / "in", coyo_table([]), parts=1)
    with pytest.raises(SourceError, match="no row whose url could be asked"):
        census(tmp_path / "in", tmp_path / "c", None, settings())
    assert not (tmp_path / "c").exists()


def test_the_command(server, tmp_path):
    write_parts(tmp_path / "in", coyo_table(server.urls(50)), parts=1)
    line = [str(tmp_path / "in"), "-o", str(tmp_path / "c"), "--census", "30",
            "--allow-private-addresses", "--verify-phash", "--processes", "1"]  # fmt: skip
    shown = CliRunner().invoke(command, line)
    assert shown.exit_code == 0, shown.output
    for said in ("alive: gave a picture", "http_404", "127.0.0.1:", "aesthetic_score_laion_v2",
                 "50 different urls in 50 rows", "next: coyo download", "drift"):  # fmt: skip
        assert said in shown.stdout
    as_json = CliRunner().invoke(command, [*line, "--json"])
    assert json.loads(as_json.stdout) == json.loads((tmp_path / "c/census.json").read_text())
    refused = CliRunner().invoke(command, [*line, "--retry-failed"])
    assert refused.exit_code == 2
    assert "does not go with --census" in refused.stderr
    seeded = CliRunner().invoke(command, ["in", "-o", "c", "--census-seed", "5"])
    assert (seeded.exit_code, "--census-seed goes with --census." in seeded.stderr) == (2, True)
