"""hf:// sources, through a local server that speaks the hub's API."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from coyo_tools.pieces import source
from coyo_tools.words.errors import SourceError, SourceNotFound
from tests.servers.files import breaks, refuses
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


def test_an_endpoint_without_a_scheme_is_one_sentence():
    said = look("127.0.0.1:9", "hf://datasets/kakaobrain/coyo-700m")
    assert said.startswith("SettingsError HF_ENDPOINT 127.0.0.1:9: is no address; write https://")


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
    read = coyo_tools.FilterSettings(statistics=False)
    source = "hf://datasets/kakaobrain/coyo-700m"
    kept = coyo_tools.filter(source, sys.argv[1], read, where=["id < 0"])
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


@pytest.fixture
def here(monkeypatch):
    """Point this process at a server, with tries that follow quickly."""

    def point(server: HubServer, **env: str) -> None:
        for name, value in {"PAUSE_S": "0.01", "ATTEMPTS": "4", "TIMEOUT_S": "0.5"}.items():
            monkeypatch.setenv(f"COYO_REMOTE_{name}", value)
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        monkeypatch.setenv("HF_TOKEN_PATH", "/nowhere")
        for name, value in env.items():
            monkeypatch.setenv(name, value)

    return point


NAME = "hf://datasets/kakaobrain/coyo-700m"


def ids_of(found: source.Source) -> list[int]:
    return [i for part in found.open_all() for i in part.read(0, ["id"])["id"].to_pylist()]


IDS = [power + index for index in range(3) for power in (2**41, 2**42)]


def test_a_mirror_below_a_path_with_a_tree_of_many_pages(dataset, here):
    with HubServer(dataset, prefix="/mirrors/hf", page=1) as hub:
        here(hub)
        assert ids_of(source.find(f"{NAME}/data")) == IDS
        assert hub.requests["tree"] == 4  # data itself and three files
        assert ids_of(source.find(f"{NAME}/data/p[12].parquet")) == IDS[2:]


@pytest.mark.parametrize("kind", ["info", "tree", "resolve", "cdn"])
@pytest.mark.parametrize(
    "fault", [refuses(429, Retry_After="1"), refuses(503), breaks(0), breaks(0, silent_s=1)]
)
def test_every_kind_of_request_is_tried_again(dataset, here, kind, fault):
    with HubServer(dataset) as hub:
        here(hub)
        hub.faults[kind] = [fault]
        found = source.find(NAME)
        assert ids_of(found) == IDS
        assert found.fetched.repeated == 1
        assert found.parts[0].revision == hub.sha


def test_a_listing_that_is_refused_for_good_is_one_sentence(dataset, here):
    with HubServer(dataset) as hub:
        here(hub)
        hub.faults["tree"] = [refuses(429, Retry_After="9000")]
        with pytest.raises(SourceError, match=r"429 Too Many Requests and asks to wait 9,000 s"):
            source.find(NAME)
        hub.faults["info"] = [refuses(502)] * 4
        with pytest.raises(SourceError, match=r"refuses \(127\.0\.0\.1 answers 502 .* 4 times\)"):
            source.find(NAME)
        hub.faults["info"] = [refuses(200)]
        with pytest.raises(SourceError, match="does not answer as a hub does"):
            source.find(NAME)


def test_a_gated_dataset_says_where_to_ask(dataset, here):
    with HubServer(dataset, gated=True) as hub:
        here(hub)
        with pytest.raises(SourceError, match=rf"gated.*ask at {hub.endpoint}/datasets/kakaobrain"):
            source.find(NAME).open_all()
        here(hub, HF_TOKEN="secret")
        assert ids_of(source.find(NAME)) == IDS


def test_links_are_used_until_they_expire_and_the_token_is_not_shown_to_them(dataset, here):
    with HubServer(dataset, token="secret", link_serves=1) as hub:
        here(hub, HF_TOKEN="secret")
        found = source.find(f"{NAME}/data/p1.parquet")
        part = found.open_all()[0]
        assert hub.requests["resolve"] == 1
        for _ in range(2):
            assert part.read(0, ["id"])["id"].to_pylist() == IDS[2:4]
            part.close()
        assert hub.requests["resolve"] >= 3
        hub.link_serves = None
        part.read(0, ["id"])
        part.close()
        before = hub.requests["resolve"]
        part.read(0, ["url"])
        assert hub.requests["resolve"] == before


def test_a_file_that_is_gone_from_the_cdn_is_one_sentence(dataset, here, tmp_path):
    shutil.copytree(dataset, tmp_path / "d")
    with HubServer(tmp_path / "d") as hub:
        here(hub)
        found = source.find(NAME)
        (tmp_path / "d" / "data" / "p1.parquet").unlink()
        with pytest.raises(SourceNotFound, match=r"p1\.parquet: no such file"):
            found.open_all()


OTHERS = """
import sys, pyarrow as pa, pyarrow.parquet as pq
from huggingface_hub import HfApi, HfFileSystem
name = "kakaobrain/coyo-700m"
print(HfApi().dataset_info(name).sha, len(HfApi().list_repo_files(name, repo_type="dataset")))
with HfFileSystem().open(f"datasets/{name}/data/p1.parquet", "rb") as file:
    # All bytes at once: arrow's threads let go of a Python file a little after they have read it,
    # and a process that ends just then is aborted by C++.
    print(pq.read_table(pa.BufferReader(file.read()))["id"].to_pylist())
if sys.argv[1:] == ["datasets"]:
    from datasets import load_dataset
    print([row["id"] for row in load_dataset(name, split="train", streaming=True)])
"""


@pytest.mark.parametrize("which", ["huggingface_hub", "datasets"])
def test_the_hubs_own_clients_agree_about_this_server(dataset, tmp_path, which):
    pytest.importorskip(which, reason="the datasets extra is not installed")
    with HubServer(dataset, page=2) as hub:
        env = {**os.environ, "HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path),
               "HF_HUB_DISABLE_XET": "1"}  # fmt: skip
        said = subprocess.run([sys.executable, "-c", OTHERS, which], env=env, capture_output=True,
                              text=True, timeout=100)  # fmt: skip
        assert said.returncode == 0, said.stderr
        lines = said.stdout.splitlines()
        assert lines[:2] == [f"{hub.sha} 4", str(IDS[2:4])]
        assert lines[2:] == ([str(IDS)] if which == "datasets" else [])
