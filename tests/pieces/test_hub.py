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


FILTER = """
import sys
import coyo_tools
from coyo_tools.words.errors import CoyoError
try:
    kept = coyo_tools.filter("hf://datasets/kakaobrain/coyo-700m", sys.argv[1], where=["id < 0"])
    print("kept", kept.rows_out)
except CoyoError as error:
    print(type(error).__name__, error)
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """One part whose url column is far larger than what a client reads ahead."""
    folder = tmp_path_factory.mktemp("large")
    ids = pa.array(range(200_000), pa.int64())
    urls = [f"https://example.org/{n * 2654435761 % 2**32:08x}" * 3 for n in range(200_000)]
    table = pa.table({"url": urls, "id": ids})
    pq.write_table(table, folder / "part-0.parquet", row_group_size=50_000, use_dictionary=False)
    return folder


def filtered(server: HubServer, out) -> str:
    env = {**os.environ, "HF_ENDPOINT": server.base_url}
    done = subprocess.run(
        [sys.executable, "-c", FILTER, str(out)],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_rule_that_keeps_nothing_fetches_its_own_columns_only(large, tmp_path):
    metadata = pq.read_metadata(large / "part-0.parquet")
    groups = [metadata.row_group(n).column(1) for n in range(metadata.num_row_groups)]
    own = sum(column.total_compressed_size for column in groups)
    with HubServer(large) as hub:
        assert filtered(hub, tmp_path / "out").strip() == "kept 0"
    assert own < hub.bytes_sent <= 1.05 * own + 65_536  # the footer's request


def test_a_hub_that_stops_giving_the_file_is_one_sentence(large, tmp_path):
    with HubServer(large) as hub:
        hub.broken_after = 1  # the footer
        output = filtered(hub, tmp_path / "out")
    assert output.startswith("SourceError hf://datasets/kakaobrain/coyo-700m@"), output
    assert "cannot be read" in output
    assert len(output.strip().splitlines()) == 1
