"""How many bytes a run costs over the network: no more than the columns that it needs."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import coyo_tools
from coyo_tools import FilterSettings
from tests.metadata import bytes_of
from tests.servers.files import FileServer, breaks
from tests.servers.hub import HubServer
from tests.servers.s3 import s3_server

ROWS = 400_000
LAYOUTS = {"few": 200_000, "many": 13_000}


@pytest.fixture(scope="module", params=LAYOUTS)
def folder(request, tmp_path_factory):
    """One part in few or many row groups, in proportions like COYO's."""
    folder = tmp_path_factory.mktemp(request.param) / "m"
    folder.mkdir()
    draw = np.random.default_rng(0)
    ids = 2**41 + np.cumsum(draw.integers(1, 1000, ROWS))
    table = pa.table(
        {
            "id": ids,
            "url": [f"https://example.org/{n:x}.jpg" for n in ids * 2654435761 % 2**61],
            "width": draw.integers(200, 4000, ROWS).astype(np.int32),
            "num_faces": draw.integers(0, 3, ROWS).astype(np.int32),
            "watermark_score": draw.random(ROWS, np.float32),
            "aesthetic_score_laion_v2": draw.normal(5, 0.5, ROWS).astype(np.float32),
        }
    )
    pq.write_table(table, folder / "part-0.parquet", row_group_size=LAYOUTS[request.param])
    return folder


@contextlib.contextmanager
def served(folder, how, monkeypatch):
    """The folder behind a server; gives the source to name and a way to count the bytes sent."""
    if how == "s3":
        with s3_server(monkeypatch):
            import s3fs

            s3fs.S3FileSystem().put(str(folder), "bucket/m", recursive=True)
            yield "s3://bucket/m", None
    elif how == "hub":
        with HubServer(folder) as hub:
            monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
            yield "hf://datasets/kakaobrain/coyo-700m", hub
    else:
        with FileServer(folder) as server:
            yield f"{server.base_url}/files/part-0.parquet", server


def columns_size(folder, *names):
    metadata = pq.read_metadata(folder / "part-0.parquet")
    groups = [metadata.row_group(n) for n in range(metadata.num_row_groups)]
    chunks = [group.column(i) for group in groups for i in range(group.num_columns)]
    return sum(c.total_compressed_size for c in chunks if c.path_in_schema in names)


@pytest.mark.parametrize("how", ["hub", "https", "s3"])
def test_the_cost_of_a_run_is_its_columns(folder, how, monkeypatch, tmp_path):
    numbers = ("width", "num_faces", "watermark_score", "aesthetic_score_laion_v2")
    with served(folder, how, monkeypatch) as (place, server):

        def cost(run):
            before = server.bytes_sent if server else 0
            result = run()
            if server:  # what is counted is what was sent, but for listings
                assert 0 <= result.fetched.bytes - (server.bytes_sent - before) < 2000
            return result.fetched.bytes

        nothing = cost(lambda: coyo_tools.filter(place, tmp_path / "a", min_watermark=1))
        assert nothing <= 1.1 * columns_size(folder, "watermark_score")

        only = FilterSettings(columns=("id",))
        some = cost(lambda: coyo_tools.filter(place, tmp_path / "b", only, max_watermark=0.3))
        assert some <= 1.05 * columns_size(folder, "id", "watermark_score")

        top = cost(
            lambda: coyo_tools.filter(place, tmp_path / "c", only, top="5%", by="watermark_score")
        )
        assert top <= 1.05 * columns_size(folder, "id", "watermark_score")

        every = cost(lambda: coyo_tools.stats(place))
        assert every <= 1.05 * columns_size(folder, *numbers)

        looked = cost(lambda: coyo_tools.inspect(place))
        assert looked <= 0.01 * (folder / "part-0.parquet").stat().st_size + 30_000


def test_what_was_fetched_is_in_the_log_and_not_in_the_manifest(folder, tmp_path):
    with FileServer(folder) as server:
        place = f"{server.base_url}/files/part-0.parquet"
        result = coyo_tools.filter(place, tmp_path / "a", max_faces=0)
    (line,) = (tmp_path / "a" / "runs.jsonl").read_text().splitlines()
    assert json.loads(line)["fetched"] == result.fetched.to_dict() == result.to_dict()["fetched"]
    assert result.fetched.of == (folder / "part-0.parquet").stat().st_size
    assert "fetched" not in (tmp_path / "a" / "manifest.json").read_text()
    local = coyo_tools.filter(folder, tmp_path / "b", max_faces=0)
    assert local.fetched is None
    assert local.digest == result.digest


@pytest.mark.parametrize("fault", [breaks(1000), breaks(1000, reset=True)])
def test_broken_reads_change_nothing_but_the_count(folder, tmp_path, monkeypatch, fault):
    monkeypatch.setenv("COYO_REMOTE_PAUSE_S", "0.01")
    coyo_tools.filter(folder, tmp_path / "whole" / "s", max_faces=0)
    steps = []
    with FileServer(folder) as server:
        place = f"{server.base_url}/files/part-0.parquet"
        server.faults["file"] = [None, None, fault, fault]  # after the size and the footer
        result = coyo_tools.filter(place, tmp_path / "s", max_faces=0, progress=steps.append)
    assert result.fetched.repeated == 2
    assert any(step.note.startswith("waiting 0 s: ") for step in steps)
    name = "part-0.parquet"
    assert (tmp_path / "s" / name).read_bytes() == (tmp_path / "whole" / "s" / name).read_bytes()


RUN = """
import sys, coyo_tools
coyo_tools.filter(sys.argv[1], sys.argv[2], max_faces=0)
"""


NOTED = "import coyo_tools.pieces.held as held; held._NOTED_EVERY = 100_000"


def test_a_killed_run_goes_on_with_what_it_had_fetched(folder, tmp_path, monkeypatch):
    needed = columns_size(folder, *pq.read_schema(folder / "part-0.parquet").names)
    with FileServer(folder) as server:
        place = f"{server.base_url}/files/part-0.parquet"
        whole = coyo_tools.filter(place, tmp_path / "whole", max_faces=0)
        server.bytes_sent, server.delay_s, asked = 0, 0.2, len(server.asked)
        env = {**os.environ, "COYO_REMOTE_CONNECTIONS": "1"}
        run = subprocess.Popen(
            [sys.executable, "-c", NOTED + RUN, place, str(tmp_path / "s")], env=env
        )
        deadline = time.monotonic() + 60
        while server.bytes_sent < 0.5 * needed and time.monotonic() < deadline:
            time.sleep(0.02)
        run.send_signal(signal.SIGKILL)
        run.wait()
        answered, server.delay_s = len(server.asked), 0.0
        assert 0 < server.bytes_sent < whole.fetched.bytes
        again = coyo_tools.filter(place, tmp_path / "s", max_faces=0)
        # All but the last answer had come; of that, what lay in memory or was part of a column
        # is lost, and the footer's request is made again.
        come = sum(end - start for _, start, end in server.asked[asked:answered][:-1])
        assert again.fetched.bytes <= whole.fetched.bytes - come + 65_536 + 200_000
    assert bytes_of(tmp_path / "s") == bytes_of(tmp_path / "whole")
    assert sorted(p.name for p in (tmp_path / "s").iterdir()) == sorted(
        p.name for p in (tmp_path / "whole").iterdir()
    )
