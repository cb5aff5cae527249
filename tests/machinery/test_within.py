"""What lies within a folder, by every spelling of either."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest

from coyo_tools.machinery.storage import folder_at
from coyo_tools.machinery.within import files_below, names_within


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "x").touch()
    (tmp_path / "ab").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a" / "b" / "..")
    (tmp_path / "file").symlink_to("a/x")
    (tmp_path / "a" / "out").symlink_to(tmp_path / "ab")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("url", "names"),
    [
        ("a", {"."}),
        ("a/", {"."}),
        ("a/b/..", {"."}),
        ("link", {"."}),
        ("./ab/../a/x", {"x"}),
        ("link/x", {"x"}),
        ("file", {"x"}),
        ("link/b/new", {"b/new"}),
        ("a/out", {"out"}),  # the link itself, not where it leads
        ("a/out/x", set()),
        ("ab", set()),
        ("ab/x", set()),
        (".", set()),
        ("..", set()),
        ("s3://a/x", set()),
    ],
)
@pytest.mark.parametrize("folder", ["a", "link/", "file://{here}/a", "~/a", "a/b/.."])
def test_local_places(here, monkeypatch, folder, url, names):
    monkeypatch.setenv("HOME", str(here))
    assert names_within(folder.format(here=here), [url]) == names
    assert names_within(folder.format(here=here), [f"file://{here}/{url}"] * 2) == (
        set() if "://" in url else names
    )


def test_links_that_lead_to_themselves(here: Path) -> None:
    (here / "loop").symlink_to(here / "loop")
    for place in ("loop", "loop/x"):
        assert names_within(place, ["a/x"]) == set()
        assert names_within(".", [place]) == {place}


@pytest.mark.parametrize(
    ("folder", "url", "names"),
    [
        ("s3://b/a", "s3://b/a/", {"."}),
        ("s3://b/a/", "s3a://b/a/x", {"x"}),
        ("s3://b/a", "s3://b/ab", set()),
        ("s3://b/a", "gs://b/a", set()),
        ("hf://datasets/o/n", "hf://datasets/o/n@0f/data/x", {"data/x"}),
        ("hf://datasets/o/n@main/data", "hf://datasets/o/n/data/", {"."}),
        ("hf://datasets/o/n", "hf://datasets/o/nn", set()),
        ("s3://b/a", "/b/a", set()),
    ],
)
def test_remote_places(folder, url, names):
    assert names_within(folder, [url]) == names


def test_files_at_any_depth(tmp_path):
    assert files_below(folder_at(tmp_path / "absent")) == set()
    for name in ("x", "a/y", "a/b/z"):
        folder_at(tmp_path).write_bytes(name, b"1")
        folder_at("memory://within").write_bytes(name, b"1")
    assert files_below(folder_at(tmp_path)) == {"x", "a/y", "a/b/z"}
    assert files_below(folder_at("memory://within/")) == {"x", "a/y", "a/b/z"}
    fsspec.filesystem("memory").rm("/within", recursive=True)
