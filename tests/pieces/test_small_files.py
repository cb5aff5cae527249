"""Small files of every place, and what is said where they cannot be read."""

from __future__ import annotations

import json

import pytest

import coyo_tools
from coyo_tools.pieces import small_files
from coyo_tools.words.errors import SourceError, SourceNotFound
from tests.metadata import metadata, write_parts
from tests.servers.files import FileServer, refuses
from tests.servers.hub import HubServer
from tests.servers.s3 import s3_server

AWAY = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setenv("COYO_REMOTE_PAUSE_S", "0.01")
    monkeypatch.setenv("COYO_REMOTE_ATTEMPTS", "3")


def test_here_and_on_s3(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"x")
    assert small_files.read_bytes(tmp_path / "a") == b"x"
    with s3_server(monkeypatch):
        import s3fs

        s3fs.S3FileSystem().pipe_file("bucket/a", b"y")
        assert small_files.read_bytes("s3://bucket/a") == b"y"
        for absent in ("s3://bucket/b", "s3://absent/b", tmp_path / "b"):
            with pytest.raises(SourceNotFound, match="no such file"):
                small_files.read_bytes(absent)


def test_a_folder_is_said_to_be_one(tmp_path):
    with pytest.raises(SourceNotFound, match="is a folder, not a file; name the file in it"):
        small_files.read_bytes(tmp_path)


def test_a_name_that_the_disk_refuses_is_one_sentence():
    with pytest.raises(SourceError, match="cannot be read: File name too long"):
        small_files.read_bytes("x" * 300)


@pytest.mark.parametrize("fault", [refuses(503), refuses(429, Retry_After="0")])
def test_a_hiccup_of_a_web_server_is_tried_again(tmp_path, fault):
    (tmp_path / "a").write_bytes(b"x")
    with FileServer(tmp_path) as server:
        server.faults["file"] = [fault, fault]
        assert small_files.read_bytes(f"{server.base_url}/files/a") == b"x"
        server.faults["file"] = [refuses(401)]
        with pytest.raises(SourceError, match=r"cannot be read: 127\.0\.0\.1 answers 401"):
            small_files.read_bytes(f"{server.base_url}/files/a")


def test_a_hiccup_of_the_hub_is_tried_again(tmp_path, monkeypatch):
    (tmp_path / "r.yaml").write_bytes(b"x")
    with HubServer(tmp_path) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.base_url)
        for kind in ("info", "resolve"):
            hub.faults[kind] = [refuses(503), refuses(502)]
        assert small_files.read_bytes("hf://datasets/kakaobrain/coyo-700m/r.yaml") == b"x"
        with pytest.raises(SourceNotFound, match="no such file or folder"):
            small_files.read_bytes("hf://datasets/kakaobrain/coyo-700m/s.yaml")


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (f"{AWAY}/manifest.json", "Cannot connect to host"),
        ("hf://datasets/a/b/manifest.json", "cannot be reached or refuses"),
        ("hf://a/b/manifest.json", "cannot be read: "),
        ("s3://b/manifest.json", "cannot be read: Unable to locate credentials"),
    ],
)
def test_a_store_that_does_not_answer_is_one_sentence(tmp_path, monkeypatch, place, said):
    monkeypatch.setenv("HF_ENDPOINT", AWAY)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SourceError, match=said) as caught:
        coyo_tools.run(place)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["--recipe r.yaml", "--blocked-words w.txt", "--census c.json"])
def test_what_a_command_is_given_by_address_is_tried_again(tmp_path, name):
    census = {"coyo_census": 1, "source": "x", "urls": 1} | {
        key: {"value": 1.0, "low": 1.0, "high": 1.0}
        for key in ("alive", "bytes_per_image", "images_per_s")
    }
    (tmp_path / "r.yaml").write_text("filter: [{max_faces: 0}]")
    (tmp_path / "w.txt").write_text("word")
    (tmp_path / "c.json").write_text(json.dumps(census))
    write_parts(tmp_path / "m", [metadata(9)])
    flag, file = name.removeprefix("--").split()
    with FileServer(tmp_path) as server:
        server.faults["file"] = [refuses(503)]
        at = f"{server.base_url}/files/{file}"
        if flag == "census":
            coyo_tools.plan(tmp_path / "m", wanted=coyo_tools.PlanSettings(census=at))
        else:
            coyo_tools.filter(tmp_path / "m", tmp_path / "s", **{flag.replace("-", "_"): at})
        assert server.requests["file"] == 2
