"""Places that commands are given: what is none of theirs is one sentence, by whichever command."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.metadata import rows_of, write_parts
from tests.servers.files import FileServer, refuses
from tests.servers.hub import HubServer

HERE = "127.0.0.1"


@pytest.fixture
def subset(coyo, tmp_path, monkeypatch):
    """A finished subset `s` of `m`, in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COYO_REMOTE_PAUSE_S", "0.01")
    write_parts(tmp_path / "m", [rows_of({}, {})])
    assert coyo("filter", "m", "-o", "s", "--max-faces", 0)[0] == 0
    return tmp_path / "s"


READERS = {
    "inspect": ("inspect", "SOURCE"),
    "stats": ("stats", "SOURCE"),
    "filter": ("filter", "SOURCE", "-o", "out"),
    "plan": ("filter", "SOURCE", "--plan"),
    "diff": ("diff", "s", "SOURCE"),
    "download": ("download", "SOURCE", "-o", "out"),
    "score": ("score", "SOURCE", "-o", "out", "-c", "text_length"),
    "presets": ("presets", "compare", "safe", "SOURCE"),
    "push": ("push", "SOURCE", "me/mine", "--dry-run"),
}


def refused(coyo, arguments, source="") -> str:
    status, _, said = coyo(*(source if a == "SOURCE" else a for a in arguments))
    assert status == 1, said
    assert len(said.strip().splitlines()) == 1, said
    return said


@pytest.mark.parametrize("verb", READERS)
@pytest.mark.parametrize("place", ["folder", "*.parquet", "x.parquet"])
def test_a_web_server_that_is_away(coyo, subset, verb, place):
    source = f"https://{HERE}:9/{place}"
    said = refused(coyo, READERS[verb], source)
    asked = source.removesuffix("/*.parquet")
    assert f"{asked}: cannot be read: Cannot connect to host {HERE}:9" in said


@pytest.mark.parametrize("verb", READERS)
def test_a_listing_that_is_refused(coyo, subset, verb):
    with FileServer(subset.parent) as server:
        server.faults["listing"] = [refuses(403)] * 9
        said = refused(coyo, READERS[verb], f"{server.base_url}/files/m")
    assert f"/files/m: cannot be read: {HERE} answers 403 Forbidden" in said


@pytest.mark.parametrize("verb", READERS)
@pytest.mark.parametrize("scheme", ["ftp", "github"])
def test_a_source_of_another_scheme(coyo, subset, verb, scheme):
    said = refused(coyo, READERS[verb], f"{scheme}://{HERE}/y")
    assert f"{scheme}://{HERE}/y: {scheme}:// is not a known place; name a local path" in said


@pytest.mark.parametrize("verb", READERS)
@pytest.mark.parametrize("end", ["", ".parquet", "*"])
def test_a_source_whose_name_is_too_long(coyo, subset, verb, end):
    said = refused(coyo, READERS[verb], "x" * 300 + end)
    assert "cannot be read: File name too long" in said or verb == "score"


WRITERS = {
    "stats": ("stats", "m", "-o"),
    "filter": ("filter", "m", "-o"),
    "diff": ("diff", "m", "s", "-o"),
    "download": ("download", "m", "-o"),
    "score": ("score", "m", "-c", "text_length", "-o"),
}


@pytest.mark.parametrize("verb", WRITERS)
@pytest.mark.parametrize(
    ("out", "said"),
    [
        (
            "hf://datasets/me/mine/sub",
            "is read-only here; write a local folder and use `coyo push`",
        ),
        ("https://h/x", "is read-only; choose another folder with -o"),
        ("ftp://127.0.0.1/y", "ftp:// is not a known place; name a local path"),
        ("x" * 300, "File name too long"),
    ],
)
def test_an_output_that_cannot_be(coyo, subset, monkeypatch, verb, out, said):
    with HubServer(subset) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.base_url)
        assert said in refused(coyo, (*WRITERS[verb], out))
        assert not hub.requests


def test_a_report_is_not_written_to_the_hub(coyo, subset):
    said = refused(coyo, ("report", "s", "-o", "hf://datasets/me/mine/report.html"))
    assert "is read-only here" in said


@pytest.mark.parametrize("verb", READERS)
def test_the_stats_of_a_source_are_no_source(coyo, subset, verb):
    assert coyo("stats", "m", "-o", "m.stats")[0] == 0
    said = refused(coyo, READERS[verb], "m.stats")
    lacks = "neither tar shards nor parquet" if verb == "score" else "no parquet file"
    assert f"m.stats: holds {lacks}; name the folder that holds the" in said


BROKEN = [
    {"settings": []}, {"inputs": None}, {"inputs": [1]}, {"result": []}, {"files": None},
    {"files": [1]}, {"versions": []}, {"command": 1}, {"complete": "x"}, {"digest": 1}, None,
]  # fmt: skip


@pytest.mark.parametrize("change", BROKEN, ids=str)
@pytest.mark.parametrize("verb", ["inspect", "diff", "push"])
def test_a_manifest_of_other_types_is_none(coyo, subset, verb, change):
    place = subset / "manifest.json"
    said = json.loads(place.read_text())
    place.write_text(json.dumps(change and said | change))
    told = refused(coyo, ("diff", "m", "s") if verb == "diff" else READERS[verb], "s")
    assert "is no manifest of this version of the tool; put the file that the tool wrote" in told
    assert "-o" not in told
    told = refused(coyo, ("run", "s/manifest.json"))
    assert "s/manifest.json: is no manifest of this tool" in told
    told = refused(coyo, ("filter", "m", "-o", "s", "--max-faces", 0))
    assert "is no manifest of this version of the tool; choose another folder with -o" in told


def test_a_folder_where_a_file_is_meant(coyo, subset):
    assert "s: is a folder, not a file; name the file in it" in refused(coyo, ("run", "s"))
    told = refused(coyo, ("filter", "m", "-o", "t", "--blocked-words", "m"))
    assert "m: is a folder, not a file; name the file in it" in told


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_to_a_full_device_is_one_sentence(subset, monkeypatch, unbuffered):
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "coyo_tools", "filter", "m", "-o", "t", "--max-faces", "0"],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.stderr == (
        "coyo: the output: cannot be written: No space left on device; send it elsewhere\n"
    )
    assert done.returncode == 1
