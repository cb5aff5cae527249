"""`--engine img2dataset` beside the own engine, on the same servers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from coyo_tools.pieces.img2dataset import failure_of
from coyo_tools.verbs.download import download
from coyo_tools.words.config import DownloadSettings
from coyo_tools.words.errors import SettingsError
from coyo_tools.words.failures import FAILURES
from coyo_tools.words.progress import Progress
from tests.engines import LINES
from tests.hostile.answers import body
from tests.servers.pictures import PictureServer, picture
from tests.servers.raw import RawServer, sends, stays_silent
from tests.tables import coyo_table, write_parts

pytest.importorskip("img2dataset", reason="the img2dataset extra is not installed")
pytestmark = pytest.mark.slow


def settings(**changed) -> DownloadSettings:
    defaults = {
        "engine": "img2dataset", "allow_private_addresses": True, "image_size": 64, "retries": 0,
        "samples_per_shard": 20, "processes": 1, "timeout_s": 2.0, "connections": 16,
    }  # fmt: skip
    return DownloadSettings(**{**defaults, **changed})


def rows_of(folder: Path) -> list[dict]:
    return [row for p in sorted(folder.glob("*.parquet")) for row in pq.read_table(p).to_pylist()]


@pytest.mark.parametrize("engine", ["coyo", "img2dataset"])
def test_each_behaviour_has_the_class_that_the_table_says(tmp_path, engine):
    with RawServer({line.path: line.behave for line in LINES if line.behave}) as server:
        urls = [server.base_url + line.path if line.behave else line.path for line in LINES]
        write_parts(tmp_path / "in", coyo_table(urls), 1)
        download(tmp_path / "in", tmp_path / "out", settings(engine=engine, max_pixels=100_000))
    found = [row["error"] for row in rows_of(tmp_path / "out")]
    assert dict(zip(urls, found, strict=True)) == {
        url: getattr(line, engine) for url, line in zip(urls, LINES, strict=True)
    }


def test_the_layout_is_the_contracts_in_order_by_id_and_a_url_is_fetched_once(tmp_path):
    with PictureServer() as server:
        urls = [server.urls(30)[n * 7 % 30] for n in range(50)]
        metadata = coyo_table(urls)
        write_parts(tmp_path / "in", metadata, parts=2)
        results = {e: download(tmp_path / "in", tmp_path / e, settings(engine=e, processes=2))
                   for e in ("coyo", "img2dataset")}  # fmt: skip
        assert server.hits == Counter({url.removeprefix(server.base_url): 2 for url in urls})
    own, theirs = (rows_of(tmp_path / engine) for engine in results)
    other = {"error_message", "sha256"}  # sha256 of successes alone
    for ours, row in zip(own, theirs, strict=True):
        assert {n: v for n, v in row.items() if n not in other} == {
            n: v for n, v in ours.items() if n not in other
        }
        assert row["sha256"] == (ours["sha256"] if row["status"] == "success" else None)
    assert results["img2dataset"].digest == results["coyo"].digest
    for path in sorted((tmp_path / "coyo").glob("*.tar")):
        with tarfile.open(path) as a, tarfile.open(tmp_path / "img2dataset" / path.name) as b:
            assert a.getnames() == b.getnames()
    again = download(tmp_path / "in", tmp_path / "img2dataset", settings(processes=2))
    assert again.digest == results["coyo"].digest


def test_missing_shards_are_made_and_retry_failed_fetches_what_is_worth_it(tmp_path):
    moods = {"well": False}

    async def moody(reader, writer):
        await sends(body(picture(1) if moods["well"] else b"", status="200 OK" if moods["well"]
                         else "503 Busy"))(reader, writer)  # fmt: skip

    routes = {f"/{n}": sends(body(picture(n))) for n in range(40)} | {"/3": moody}
    with RawServer(routes) as server:
        write_parts(tmp_path / "in", coyo_table([f"{server.base_url}/{n}" for n in range(40)]), 1)
        first = download(tmp_path / "in", tmp_path / "out", settings())
        assert first.by_error == {"http_5xx": 1}
        before = {p.name: p.read_bytes() for p in (tmp_path / "out").glob("00001.*")}
        (tmp_path / "out/00001_stats.json").unlink()
        manifest = json.loads((tmp_path / "out/manifest.json").read_text())
        (tmp_path / "out/manifest.json").write_text(json.dumps(manifest | {"complete": False}))
        moods["well"] = True
        server.hits.clear()
        steps: list[Progress] = []
        result = download(
            tmp_path / "in", tmp_path / "out", settings(), retry_failed=True, progress=steps.append
        )
    told = [step for step in steps if step.total is not None]
    assert (told[0].done, told[-1].done) == (19, 40)
    assert told[-1].counts["rows"] == told[-1].counts["successes"] == 21
    assert told[-1].counts["bytes"] > 21 * 500
    assert (result.successes, result.attempts) == (40, 2)
    assert set(server.hits) == {"/3"} | {f"/{n}" for n in range(20, 40)}
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").glob("00001.*")} == before


def test_killed_it_leaves_no_process_and_no_part_of_a_shard(tmp_path):
    with RawServer({f"/{n}": stays_silent for n in range(40)}) as slow:
        write_parts(tmp_path / "in", coyo_table([f"{slow.base_url}/{n}" for n in range(40)]), 1)
        process = subprocess.Popen(
            [sys.executable, "-m", "coyo_tools", "download", str(tmp_path / "in"), "-o",
             str(tmp_path / "out"), "--allow-private-addresses", "--engine", "img2dataset",
             "--timeout", "60", "--processes", "1"],
            stderr=subprocess.PIPE,
        )  # fmt: skip
        deadline = time.monotonic() + 60
        while not slow.hits:
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        below = descendants(process.pid)
        assert len(below) >= 3  # the worker, img2dataset, and its own
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        while any(map(is_running, below)):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert not list((tmp_path / "out").glob("0*"))


def descendants(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            found += [child, *descendants(child)]
    return found


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize(("changed", "said"), [
    ({"allow_private_addresses": False},
     "--engine img2dataset: cannot keep urls and redirects from private addresses; add "
     "--allow-private-addresses where nothing private is in this machine's reach, or use "
     "--engine coyo"),
    ({"robots": True},
     "--engine img2dataset: has no counterpart of --robots; leave out one of them"),
    ({"verify_phash": True},
     "--engine img2dataset: has no counterpart of --verify-phash; leave out one of them"),
    ({"max_bytes": 5},
     "--engine img2dataset: has no counterpart of --max-bytes; leave out one of them"),
])  # fmt: skip
def test_what_it_cannot_do_is_refused_where_it_is_asked_for(tmp_path, changed, said):
    write_parts(tmp_path / "in", coyo_table(["http://example.org/a.jpg"]), 1)
    with pytest.raises(SettingsError) as caught:
        download(tmp_path / "in", tmp_path / "out", settings(**changed))
    assert str(caught.value) == said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("text", "error"), [
    ("<urlopen error [Errno -2] Name or service not known>", "no_such_host"),
    ("<urlopen error [Errno -3] Temporary failure in name resolution>", "dns"),
    ("<urlopen error [Errno 111] Connection refused>", "connect"),
    ("[Errno 104] Connection reset by peer", "connect"),
    ("<urlopen error [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed "
     "certificate (_ssl.c:1006)>", "tls"),
    ("<urlopen error _ssl.c:989: The handshake operation timed out>", "timeout"),
    ("HTTP Error 403: Forbidden", "http_403"),
    ("HTTP Error 418: I'm a teapot", "http_4xx"),
    ("HTTP Error 302: The HTTP server returned a redirect error that would lead to an infinite "
     "loop.\nThe last 30x error message was:\nFound", "redirects"),
    ("IncompleteRead(5 bytes read, 95 more expected)", "truncated"),
    ("something new", "protocol"),
])  # fmt: skip
def test_its_texts_have_classes(text, error):
    row = {"status": "failed_to_download", "error_message": text}
    assert failure_of(row).error == error
    assert "\n" not in failure_of(row).message
    assert error in FAILURES
