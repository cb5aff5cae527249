"""hf:// sources, through a local server that speaks the hub's API."""

from __future__ import annotations

import os
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.servers.hub import HubServer

LOOK = """
import sys
from coyo_tools.pieces import source
from coyo_tools.words.errors import CoyoError
try:
    found = source.find(sys.argv[1])
    for part in found.open_all():
        print(part.part.name, part.rows, part.part.revision, part.read(0, ["id"])["id"].to_pylist())
except CoyoError as error:
    print(type(error).__name__, error)
"""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub")
    (folder / "data").mkdir()
    (folder / "README.md").write_text("a card")
    for index in range(3):
        ids = pa.array([2**41 + index, 2**42 + index], pa.int64())
        pq.write_table(
            pa.table({"id": ids, "url": ["a", "b"]}), folder / "data" / f"p{index}.parquet"
        )
    return folder


def look(server: HubServer | str, source: str, **env: str) -> str:
    """`source.find` in a process of its own: huggingface_hub reads HF_ENDPOINT at its import."""
    endpoint = server if isinstance(server, str) else server.base_url
    full = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HUB_DISABLE_TELEMETRY": "1", **env}
    if "HF_TOKEN" not in env:
        full.pop("HF_TOKEN", None)
    done = subprocess.run(
        [sys.executable, "-c", LOOK, source], env=full, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_parts_come_from_the_endpoint_at_a_pinned_commit(dataset):
    with HubServer(dataset) as hub:
        lines = look(hub, "hf://datasets/kakaobrain/coyo-700m").splitlines()
    assert lines == [f"p{i}.parquet 2 {hub.sha} [{2**41 + i}, {2**42 + i}]" for i in range(3)]


@pytest.mark.parametrize(
    ("suffix", "names"),
    [
        ("@main", ["p0.parquet", "p1.parquet", "p2.parquet"]),
        ("/data/p1.parquet", ["p1.parquet"]),
        ("/data/*2.parquet", ["p2.parquet"]),
        ("/data", ["p0.parquet", "p1.parquet", "p2.parquet"]),
    ],
)
def test_a_revision_a_file_a_glob_and_a_folder(dataset, suffix, names):
    with HubServer(dataset) as hub:
        lines = look(hub, f"hf://datasets/kakaobrain/coyo-700m{suffix}").splitlines()
    assert [line.split()[0] for line in lines] == names


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("hf://datasets/kakaobrain/coyo", "SourceNotFound hf://datasets/kakaobrain/coyo: "),
        ("hf://datasets/kakaobrain/coyo-700m@nope", "has no such revision"),
        ("hf://datasets/kakaobrain/coyo-700m/nope", "no such file or folder"),
        ("hf://datasets/coyo", "write hf://datasets/OWNER/NAME"),
    ],
)
def test_a_wrong_name_is_one_sentence(dataset, source, said):
    with HubServer(dataset) as hub:
        output = look(hub, source)
    assert said in output
    assert len(output.splitlines()) == 1


def test_a_token_opens_a_private_dataset(dataset):
    with HubServer(dataset, token="secret") as hub:
        assert "set HF_TOKEN" in look(hub, "hf://datasets/kakaobrain/coyo-700m")
        assert "p0.parquet 2" in look(hub, "hf://datasets/kakaobrain/coyo-700m", HF_TOKEN="secret")


def test_an_endpoint_that_does_not_answer_is_named():
    output = look("http://127.0.0.1:9", "hf://datasets/kakaobrain/coyo-700m")
    assert "http://127.0.0.1:9 cannot be reached" in output
    assert "HF_ENDPOINT" in output
