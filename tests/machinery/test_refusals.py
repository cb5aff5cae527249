"""What keeps a run out of a folder: the difference is named, and nothing is touched."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from coyo_tools.machinery.manifest import MANIFEST
from coyo_tools.words.errors import SettingsConflict, SettingsError
from tests.machinery.runs import INPUTS, begun, contents, finished

CONFLICTS: dict[str, tuple[Mapping[str, Any], str]] = {
    "setting": ({"rules": 2}, "settings: rules was 1, is 2; choose another folder with -o, or"),
    "long setting": ({"rules": "x" * 200}, r"rules was 1, is \"x{76}\.\.\."),
    "command": ({"command": "score"}, "it was made by `coyo filter`, this is `coyo score`"),
    "number": ({"inputs": INPUTS * 2}, "its input had 1 files, this one has 2"),
    "bytes": ({"inputs": [INPUTS[0] | {"bytes": 6}]}, "input a.parquet differs in bytes"),
    "revision": ({"inputs": [INPUTS[0] | {"revision": "x"}]}, "a.parquet differs in revision"),
}


@pytest.mark.parametrize("what", CONFLICTS)
def test_another_run_is_refused_with_the_difference(tmp_path: Path, what: str) -> None:
    finished(tmp_path)
    before = contents(tmp_path)
    other, sentence = CONFLICTS[what]
    with pytest.raises(SettingsConflict, match=sentence), begun(tmp_path, **other):
        pass
    assert contents(tmp_path) == before


def test_what_is_new_in_a_long_setting_is_named_though_it_is_null(tmp_path: Path) -> None:
    long = {"where": "x" * 100}
    finished(tmp_path, rules=[long])
    sentence = r"rules\[0\]\.by was absent, is null; choose"
    with pytest.raises(SettingsConflict, match=sentence):
        finished(tmp_path, rules=[{**long, "by": None}])


def test_an_unfinished_run_of_other_settings_is_refused_too(tmp_path: Path) -> None:
    with begun(tmp_path):
        pass
    with pytest.raises(SettingsConflict, match="rules was 1, is 2"), begun(tmp_path, rules=2):
        pass


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_with_foreign_files_is_refused(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with (
        pytest.raises(SettingsConflict, match=r"files that are not this tool's \(thesis.tex\)"),
        begun(tmp_path, overwrite=overwrite),
    ):
        pass
    assert os.listdir(tmp_path) == ["thesis.tex"]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["a.parquet", "labels.parquet", "x/a.npy"])
def test_what_the_run_reads_is_never_removed(tmp_path: Path, name: str, overwrite: bool) -> None:
    with begun(tmp_path, makes={"a.parquet": ["x/a.npy"]}) as run:
        for each in ("a.parquet", "labels.parquet", "x/a.npy", "x/mine.npy"):
            run.folder.write_bytes(each, b"data")
    rest: dict[str, Any] = {"rules": 2, "overwrite": overwrite}
    reads = [f"{tmp_path}/{name}", f"{tmp_path}/x/mine.npy", "s3://bucket/a.parquet"]
    sentence = f"holds {name}, which is input of this run; choose a folder beside it with -o"
    with pytest.raises(SettingsError, match=sentence), begun(tmp_path, reads=reads, **rest):
        pass
    assert (tmp_path / name).read_bytes() == b"data"
    if overwrite:  # what no run of this folder wrote is in no danger
        with begun(tmp_path, reads=reads[1:], **rest):
            assert (tmp_path / "x" / "mine.npy").read_bytes() == b"data"


CHANGED = [INPUTS[0] | {"footer_sha256": "01"}]


def test_an_input_of_which_nothing_came_yet_may_change(tmp_path: Path) -> None:
    makes = {"a.parquet": ["x/a.npy", "a.done"]}
    with begun(tmp_path, makes=makes) as run:
        run.folder.write_bytes("x/a.npy", b"half of it")
    with begun(tmp_path, inputs=CHANGED, makes=makes) as run:
        assert not run.done
        assert (run.folder.read_json(MANIFEST)["inputs"], run.manifest.inputs) == (CHANGED,) * 2
        run.folder.write_bytes("a.done", b"data")
    with pytest.raises(SettingsConflict, match=r"input a\.parquet differs in footer_sha256"):
        finished(tmp_path, makes=makes)
    finished(tmp_path, inputs=CHANGED, makes=makes)
    (tmp_path / "a.parquet").unlink()
    with pytest.raises(SettingsConflict, match=r"input a\.parquet differs in footer_sha256"):
        finished(tmp_path, makes=makes)


@pytest.mark.parametrize(
    "other", [{"inputs": CHANGED * 2}, {"inputs": [{"name": "b"}]}, {"rules": 2}, {"makes": {}}]
)
def test_that_it_may_change_is_all(tmp_path: Path, other: Mapping[str, Any]) -> None:
    asked = {"inputs": CHANGED, "makes": {"a.parquet": ["a.parquet"], "b": ["b"]}}
    with begun(tmp_path):
        pass
    with pytest.raises(SettingsConflict), begun(tmp_path, **asked | other):
        pass
    with begun(tmp_path, **asked):
        pass
