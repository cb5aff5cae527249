"""`download` from end to end: real servers, real processes, real shards."""

from __future__ import annotations

import asyncio
import io
import json
import tarfile
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from coyo_tools.machinery.storage import folder_at
from coyo_tools.pieces import shards
from coyo_tools.verbs.download import download
from coyo_tools.words.config import DownloadSettings
from coyo_tools.words.errors import SchemaError, SettingsConflict
from coyo_tools.words.progress import Progress
from tests.servers.pictures import PictureServer, picture
from tests.servers.raw import RawServer, sends
from tests.servers.s3 import s3_server
from tests.tables import coyo_table, write_parts


def settings(**changed) -> DownloadSettings:
    defaults = {
        "allow_private_addresses": True,
        "image_size": 64,
        "samples_per_shard": 10,
        "processes": 1,
        "timeout_s": 5.0,
        "connections": 8,
    }
    return DownloadSettings(**{**defaults, **changed})


@pytest.fixture(scope="module")
def server():
    with PictureServer() as running:
        yield running


def data_files(folder: Path) -> dict[str, bytes]:
    """Tars and parquets; the stats hold times."""
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.suffix in (".tar", ".parquet")}


def table(folder: Path) -> pa.Table:
    return pa.concat_tables(pq.read_table(p) for p in sorted(folder.glob("*.parquet")))


def answer(data: bytes, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data


def test_every_row_is_accounted_for_in_order_on_any_number_of_workers(server, tmp_path):
    metadata = coyo_table(server.urls(57))
    write_parts(tmp_path / "in", metadata, parts=3, row_group_rows=8)
    results = {
        n: download(tmp_path / "in", tmp_path / f"out{n}", settings(processes=n)) for n in (1, 2)
    }
    assert data_files(tmp_path / "out1") == data_files(tmp_path / "out2")
    assert results[1].digest == results[2].digest
    result, found = results[1], table(tmp_path / "out1")
    assert found.column("id").to_pylist() == metadata.column("id").to_pylist()
    assert found.column("caption").to_pylist() == metadata.column("text").to_pylist()
    assert result.rows == sum(result.by_status.values()) == 57
    assert result.by_error == {"http_404": 5, "not_an_image": 3}
    assert result.successes == 49 == result.rows - sum(result.by_error.values())
    assert result.shards == 6
    assert found.column("metadata_width").to_pylist() == [640] * 57
    for name in metadata.column_names:
        if name not in ("id", "url", "text", "width", "height"):
            assert found.column(name).equals(metadata.column(name)), name
    in_tars = []
    for path in sorted((tmp_path / "out1").glob("*.tar")):
        with tarfile.open(path) as tar:
            in_tars += [n.removesuffix(".jpg") for n in tar.getnames() if n.endswith(".jpg")]
    assert in_tars == [
        row["key"] for row in found.select(["key", "status"]).to_pylist()
        if row["status"] == "success"
    ]  # fmt: skip
    manifest = json.loads((tmp_path / "out1/manifest.json").read_text())
    assert manifest["complete"]
    assert manifest["result"]["successes"] == 49
    assert manifest["digest"] == result.digest


def test_the_json_beside_a_picture_is_its_row(server, tmp_path):
    write_parts(tmp_path / "in", coyo_table(server.urls(5)), 1)
    download(tmp_path / "in", tmp_path / "out", settings())
    row = pq.read_table(tmp_path / "out/00000.parquet").to_pylist()[1]
    with tarfile.open(tmp_path / "out/00000.tar") as tar:
        record = json.loads(tar.extractfile(f"{row['key']}.json").read())
        assert tar.extractfile(f"{row['key']}.txt").read().decode() == row["caption"]
    assert list(record) == list(row)
    assert record == row
    assert (row["original_width"], row["original_height"]) == (160, 120)
    assert (row["width"], row["height"]) == (85, 64)


@pytest.mark.parametrize("processes", [1, 3])
def test_a_url_that_occurs_several_times_is_fetched_once(tmp_path, processes):
    with PictureServer(delay_s=0.02) as counting:
        distinct = counting.urls(12)
        order = [n * 7 % 12 for n in range(60)] + [0, 0, 9, 9]  # 9 is 404
        metadata = coyo_table([distinct[n] for n in order])
        write_parts(tmp_path / "in", metadata, parts=2)
        result = download(tmp_path / "in", tmp_path / "out", settings(processes=processes))
        assert counting.hits == Counter({f"/p/{n}.jpg": 1 for n in range(12)})
    found = table(tmp_path / "out").to_pylist()
    assert [row["url"] for row in found] == [distinct[n] for n in order]
    first = {}
    for row in found:
        owner = first.setdefault(row["url"], row)
        for name in ("status", "error", "error_message", "width", "sha256", "original_width"):
            assert row[name] == owner[name]
    assert result.by_error["http_404"] == order.count(9)
    pictures = {}
    for path in sorted((tmp_path / "out").glob("*.tar")):
        with tarfile.open(path) as tar:
            for name in tar.getnames():
                if name.endswith(".jpg"):
                    pictures[name[:16]] = tar.extractfile(name).read()
    for row in found:
        if row["status"] == "success":
            assert pictures[row["key"]] == pictures[first[row["url"]]["key"]]


def test_equal_hashes_of_different_urls_are_not_taken_for_equal(server, tmp_path, monkeypatch):
    import numpy as np

    monkeypatch.setattr(
        "coyo_tools.pieces.repeats.hashes", lambda urls: np.zeros(len(urls), np.uint64)
    )
    write_parts(tmp_path / "in", coyo_table(server.urls(25)), 1)
    result = download(tmp_path / "in", tmp_path / "out", settings())
    monkeypatch.undo()
    assert result.successes == 22
    download(tmp_path / "in", tmp_path / "plain", settings())
    assert data_files(tmp_path / "out") == data_files(tmp_path / "plain")


def test_run_again_it_makes_what_is_missing_and_nothing_else(tmp_path):
    with PictureServer() as counting:
        write_parts(tmp_path / "in", coyo_table(counting.urls(40)), 1)
        download(tmp_path / "in", tmp_path / "out", settings())
        before = data_files(tmp_path / "out")
        counting.hits.clear()
        again = download(tmp_path / "in", tmp_path / "out", settings())
        assert not counting.hits
        assert again.successes == 34
        (tmp_path / "out/00002_stats.json").unlink()
        (tmp_path / "out/00003.tar").write_bytes(b"cut")
        manifest = json.loads((tmp_path / "out/manifest.json").read_text())
        (tmp_path / "out/manifest.json").write_text(json.dumps(manifest | {"complete": False}))
        download(tmp_path / "in", tmp_path / "out", settings())
        assert set(counting.hits) == {f"/p/{n}.jpg" for n in range(20, 40)}
        assert data_files(tmp_path / "out") == before


def test_other_settings_on_the_same_folder_are_refused(server, tmp_path):
    write_parts(tmp_path / "in", coyo_table(server.urls(5)), 1)
    download(tmp_path / "in", tmp_path / "out", settings())
    before = data_files(tmp_path / "out")
    with pytest.raises(SettingsConflict, match="image_size"):
        download(tmp_path / "in", tmp_path / "out", settings(image_size=32))
    assert data_files(tmp_path / "out") == before
    download(tmp_path / "in", tmp_path / "out", settings(processes=2, connections=3))
    anew = download(tmp_path / "in", tmp_path / "out", settings(image_size=32), overwrite=True)
    assert anew.rows == 5
    assert table(tmp_path / "out").column("height").to_pylist()[0] == 32


class Recovering(RawServer):
    """503 for odd pictures until `well` is set."""

    def __init__(self, count: int) -> None:
        super().__init__({f"/{n}.jpg": self._behave(n) for n in range(count)})
        self.well = False

    def _behave(self, number: int):
        async def behave(reader, writer) -> None:
            ill = number % 2 and not self.well
            data = answer(b"", "500 Oops") if ill else answer(picture(number))
            await sends(answer(b"x", "404 Gone") if number % 10 == 8 else data)(reader, writer)

        return behave


def test_retry_failed_fetches_only_what_is_worth_it(tmp_path):
    with Recovering(30) as unwell:
        urls = [f"{unwell.base_url}/{n % 30}.jpg" for n in range(45)]
        write_parts(tmp_path / "in", coyo_table(urls), 1)
        first = download(tmp_path / "in", tmp_path / "out", settings(retries=0))
        assert first.by_error == {"http_5xx": 22, "http_404": 4}
        kept = table(tmp_path / "out").to_pylist()
        unwell.well = True
        unwell.hits.clear()
        second = download(tmp_path / "in", tmp_path / "out", settings(retries=0), retry_failed=True)
        assert unwell.hits == Counter({f"/{n}.jpg": 1 for n in range(1, 30, 2)})
        assert second.by_error == {"http_404": 4}
        assert (first.attempts, second.attempts) == (1, 2)
        for old, new in zip(kept, table(tmp_path / "out").to_pylist(), strict=True):
            assert new["id"] == old["id"]
            assert old["error"] == "http_5xx" or old == new
        unwell.hits.clear()
        third = download(tmp_path / "in", tmp_path / "out", settings(retries=0), retry_failed=True)
        assert not unwell.hits
        assert third.attempts == 2
        well = download(tmp_path / "in", tmp_path / "well", settings(retries=0))
        assert well.by_error == {"http_404": 4}
    assert data_files(tmp_path / "out") == data_files(tmp_path / "well")


def test_failures_may_be_tried_again_with_other_settings_of_the_network(tmp_path):
    async def wakes_up(reader, writer):
        await asyncio.sleep(0.6)
        await sends(answer(picture(1)))(reader, writer)

    with RawServer({"/a.jpg": sends(answer(picture(0))), "/b.jpg": wakes_up}) as slow:
        write_parts(tmp_path / "in", coyo_table([f"{slow.base_url}/{n}.jpg" for n in "ab"]), 1)
        hasty = settings(timeout_s=0.3, retries=0)
        first = download(tmp_path / "in", tmp_path / "out", hasty)
        assert first.by_error == {"timeout": 1}
        patient = settings(timeout_s=5.0, retries=3, user_agent="me/1", per_host=2)
        other = settings(honor_opt_out=False)
        with pytest.raises(SettingsConflict, match="honor_opt_out"):
            download(tmp_path / "in", tmp_path / "out", other, retry_failed=True)
        second = download(tmp_path / "in", tmp_path / "out", patient, retry_failed=True)
        assert (second.successes, second.attempts) == (2, 2)
        download(tmp_path / "in", tmp_path / "well", patient)
    assert data_files(tmp_path / "out") == data_files(tmp_path / "well")
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["result"]["attempts"] == 2
    assert "timeout_s" not in manifest["settings"]
    runs = [json.loads(line) for line in (tmp_path / "out/runs.jsonl").read_text().splitlines()]
    assert [run["settings"]["timeout_s"] for run in runs] == [0.3, 5.0]


def test_a_passing_failure_is_tried_again_within_the_run(tmp_path):
    class Moody(RawServer):
        async def behave(self, reader, writer) -> None:
            good = self.hits["/a.jpg"] > 2
            await sends(answer(picture(1)) if good else answer(b"", "503 Busy"))(reader, writer)

    with Moody({}) as moody:
        moody.routes["/a.jpg"] = moody.behave
        write_parts(tmp_path / "in", coyo_table([f"{moody.base_url}/a.jpg"]), 1)
        result = download(tmp_path / "in", tmp_path / "out", settings(retries=2))
        assert moody.hits["/a.jpg"] == 3
    assert result.successes == 1


def test_the_block_list_is_obeyed_and_belongs_to_the_folder(server, tmp_path):
    import hashlib

    urls = server.urls(6)
    listed = tmp_path / "blocked.txt"
    digest = hashlib.sha256(picture(1)).hexdigest()
    listed.write_text(f"{urls[0]}\n{digest}\n", encoding="utf-8-sig")
    write_parts(tmp_path / "in", coyo_table(urls), 1)
    chosen = settings(block_list=str(listed))
    result = download(tmp_path / "in", tmp_path / "out", chosen)
    errors = table(tmp_path / "out").column("error").to_pylist()
    assert errors[:3] == ["blocked", "blocked", None]
    assert result.by_error["blocked"] == 2
    listed.write_text("example.org\n")
    with pytest.raises(SettingsConflict):
        download(tmp_path / "in", tmp_path / "out", chosen)


def test_verify_phash_tells_the_same_from_another_picture(server, tmp_path):
    import imagehash
    from PIL import Image

    hashes = [str(imagehash.phash(Image.open(io.BytesIO(picture(n))))) for n in range(3)]
    metadata = coyo_table(server.urls(3))
    stored = pa.array([hashes[0], f"{int(hashes[1], 16) ^ (2**64 - 1):016x}", None])
    at = metadata.column_names.index("image_phash")
    metadata = metadata.set_column(at, "image_phash", stored)
    write_parts(tmp_path / "in", metadata, 1)
    download(tmp_path / "in", tmp_path / "out", settings(verify_phash=True))
    found = table(tmp_path / "out")
    assert found.column("image_phash_now").to_pylist() == hashes
    assert found.column("phash_distance").to_pylist() == [0, 64, None]
    assert found.column("drift").to_pylist() == ["same", "replaced", None]


def test_ids_that_repeat_are_refused_before_anything_is_fetched(tmp_path):
    with PictureServer() as counting:
        metadata = coyo_table(counting.urls(6))
        ids = pa.array([1, 2, 3, 4, 5, 2], pa.int64())
        write_parts(tmp_path / "in", metadata.set_column(0, "id", ids), 2)
        with pytest.raises(SchemaError, match=r"row 5 .*row 1"):
            download(tmp_path / "in", tmp_path / "out", settings())
        assert not counting.hits


def test_a_source_without_ids_is_numbered(server, tmp_path):
    write_parts(tmp_path / "in", coyo_table(server.urls(12)).drop_columns(["id"]), 1)
    download(tmp_path / "in", tmp_path / "out", settings())
    assert table(tmp_path / "out").column("id").to_pylist() == list(range(12))
    assert table(tmp_path / "out").column("key").to_pylist()[11] == "0000000000000011"


def test_an_empty_subset_gives_an_empty_folder(tmp_path):
    write_parts(tmp_path / "in", coyo_table(["http://example.org/"]).slice(0, 0), 1)
    result = download(tmp_path / "in", tmp_path / "out", settings())
    assert (result.rows, result.shards) == (0, 0)
    assert json.loads((tmp_path / "out/manifest.json").read_text())["complete"]


def test_bad_urls_and_nulls_are_rows_like_others(tmp_path):
    urls = [None, "nonsense", "file:///etc/passwd", "http://127.0.0.1:9/x", None]
    write_parts(tmp_path / "in", coyo_table(["http://a.example/"] * 5).set_column(
        1, "url", pa.array(urls)), 1)  # fmt: skip
    result = download(
        tmp_path / "in", tmp_path / "out", settings(allow_private_addresses=False, retries=0)
    )
    assert table(tmp_path / "out").column("error").to_pylist() == [
        "bad_url", "bad_url", "bad_url", "private_address", "bad_url",
    ]  # fmt: skip
    assert result.successes == 0


def test_progress_ends_at_the_total_and_never_passes_it(server, tmp_path):
    write_parts(tmp_path / "in", coyo_table(server.urls(30)), 1)
    steps: list[Progress] = []
    download(tmp_path / "in", tmp_path / "out", settings(), progress=steps.append)
    fetched = [s for s in steps if s.total is not None]
    assert fetched[-1].done == fetched[-1].total == 30
    assert all(s.done < 30 for s in fetched[:-1])
    assert fetched[-1].counts["successes"] == 25


def test_shards_are_written_to_an_object_store(server, tmp_path, monkeypatch):
    write_parts(tmp_path / "in", coyo_table(server.urls(25) + server.urls(5)), 1)
    local = download(tmp_path / "in", tmp_path / "out", settings())
    with s3_server(monkeypatch):
        remote = download(tmp_path / "in", "s3://bucket/shards", settings())
        folder = folder_at("s3://bucket/shards")
        for name, data in data_files(tmp_path / "out").items():
            assert folder.read_bytes(name) == data
        assert remote.digest == local.digest
        folder.delete(shards.stats_name(1))
        manifest = folder.read_json("manifest.json")
        folder.write_json("manifest.json", manifest | {"complete": False})
        assert download(tmp_path / "in", "s3://bucket/shards", settings()).digest == local.digest
