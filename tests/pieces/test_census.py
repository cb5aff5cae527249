"""census.json: what is read of it, where it is looked for, and every refusal."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from coyo_tools.pieces.census import census_at, newest_census
from coyo_tools.pieces.clusters import Estimate
from coyo_tools.words.errors import CorruptFile, SettingsError

GOOD = {
    "coyo_census": 1, "source": "hf://datasets/a/b", "urls": 10_000,
    "alive": {"value": 0.62, "low": 0.61, "high": 0.63},
    "bytes_per_image": {"value": 181_000, "low": 178_000, "high": 184_000},
    "images_per_s": {"value": 240.0, "low": 231.0, "high": 249.0},
    "hosts": {"more": "that plans do not read"},
}  # fmt: skip


def write(folder: Path, age_s: int = 0, **changed: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "census.json"
    path.write_text(json.dumps(GOOD | changed))
    os.utime(path, (1_700_000_000 - age_s,) * 2)
    return path


def test_a_folder_or_the_file_itself(tmp_path):
    path = write(tmp_path / "c")
    found = census_at(str(tmp_path / "c"))
    assert found == census_at(str(path))
    assert (found.urls, found.source) == (10_000, "hf://datasets/a/b")
    assert found.alive == Estimate(0.62, 0.61, 0.63)
    assert found.to_dict()["images_per_s"] == {"value": 240.0, "low": 231.0, "high": 249.0}


def test_the_newest_one_beside_the_source_or_here(tmp_path, monkeypatch):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    (tmp_path / "data" / "metadata").mkdir(parents=True)
    source = str(tmp_path / "data" / "metadata")
    assert newest_census(source) is None
    oldest = write(tmp_path / "data" / "census", age_s=30)
    assert newest_census(source).place == str(oldest)
    assert newest_census(source + "/part-*.parquet") is None
    beside = write(tmp_path / "data" / "metadata", age_s=20)
    assert newest_census(source).place == str(beside)
    newer = write(here / "census", age_s=10)
    assert newest_census(source).place == str(newer)
    assert newest_census("hf://datasets/kakaobrain/coyo-700m").place == str(newer)


def test_one_of_the_source_goes_before_newer_ones_of_others(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = write(tmp_path / "own", age_s=30, source="metadata")
    write(tmp_path / "other", age_s=20, source="subset")
    for name in ("metadata", "./metadata", str(tmp_path / "metadata")):
        found = newest_census(name)
        assert (found.place, found.is_of(name)) == (str(own), True)
    newer = write(tmp_path / "newer", age_s=10, source=f"file://{tmp_path}/metadata")
    assert newest_census("metadata").place == str(newer)
    hub = "hf://datasets/a/b"
    assert newest_census(hub).place == str(newer)
    assert not newest_census(hub).is_of(hub)
    written = write(tmp_path / "hub", age_s=40, source=hub)
    assert newest_census(hub).place == str(written)


def test_files_of_that_name_that_are_not_ours_are_passed_over(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in {"a": "{}", "b": "[1]", "c": "population,2020\n", "d": '"x"'}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "census.json").write_text(text)
    (tmp_path / "e" / "census.json").mkdir(parents=True)
    assert newest_census("hf://datasets/a/b") is None


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"coyo_census": 2}, "its format is 2, this version reads 1"),
        ({"alive": {"value": 0.6}}, "it lacks 'low'"),
        ({"alive": {"value": 1.2, "low": 1, "high": 1.3}}, "alive is out of range"),
        ({"images_per_s": {"value": 5, "low": 6, "high": 7}}, "images_per_s is out of range"),
        ({"bytes_per_image": {"value": -1, "low": -2, "high": 0}}, "out of range"),
        ({"urls": "many"}, "invalid literal"),
        ({"alive": 0.5}, "is no census"),
    ],
)
def test_a_broken_one_is_one_sentence(tmp_path, changed, said, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "c", **changed)
    with pytest.raises(CorruptFile) as caught:
        census_at(str(tmp_path / "c"))
    assert said in str(caught.value)
    assert str(caught.value).startswith(f"{path}: is no census")
    assert "coyo download SUBSET --census" in str(caught.value)
    with pytest.raises(CorruptFile):
        newest_census("hf://datasets/a/b")


def test_none_where_one_was_named_is_said(tmp_path):
    with pytest.raises(SettingsError, match="holds no census; make a new one with"):
        census_at(str(tmp_path))
    (tmp_path / "census.json").write_text("no json")
    with pytest.raises(CorruptFile, match="is no census"):
        census_at(str(tmp_path))
