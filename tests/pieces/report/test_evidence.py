import json
from pathlib import Path

import pytest

from coyo_tools.machinery.manifest import begin
from coyo_tools.machinery.storage import folder_at
from coyo_tools.pieces.report import evidence
from coyo_tools.words.errors import (
    CorruptFile,
    CoyoError,
    SettingsError,
    SourceError,
    SourceNotFound,
)
from tests.pieces.report import folders


def test_each_folder_is_known_by_its_manifest(tmp_path: Path) -> None:
    folders.metadata(tmp_path / "metadata")
    folders.subset(tmp_path / "subset", tmp_path / "metadata")
    found = evidence.recognise(str(tmp_path / "subset"))
    assert (found.command, found.name) == ("filter", "subset")


def test_shards_without_a_manifest_are_known_by_their_tars(tmp_path: Path) -> None:
    rows = folders.metadata(tmp_path / "metadata", rows=20)
    folders.shards(tmp_path / "shards", rows, manifest=False)
    found = evidence.recognise(str(tmp_path / "shards"))
    assert (found.command, found.manifest) == ("download", None)


@pytest.mark.parametrize(
    ("make", "kind", "said"),
    [
        (lambda p: None, SourceNotFound, "no such folder"),
        (lambda p: (p.mkdir(), (p / "a.txt").write_text("x")), SettingsError, "neither"),
        (lambda p: _made_by(p, "filter", complete=False), SourceError, "not finished"),
        (lambda p: _made_by(p, "stats", complete=True), SettingsError, "coyo stats"),
        (lambda p: (p.mkdir(), (p / "manifest.json").write_text("{}")), CorruptFile, "no manifest"),
    ],
)
def test_what_is_no_finished_output_is_refused(
    tmp_path: Path, make: object, kind: type[CoyoError], said: str
) -> None:
    make(tmp_path / "folder")  # type: ignore[operator]  # one of the lambdas above
    with pytest.raises(kind, match=said):
        evidence.recognise(str(tmp_path / "folder"))


def _made_by(path: Path, command: str, *, complete: bool) -> None:
    with begin(folder_at(path), command, {}, []) as run:
        if complete:
            run.finish({}, [], None)


def test_outcomes_by_class_and_in_img2datasets_words(tmp_path: Path) -> None:
    ours = {"successes": 3, "errors": {"http_404": 2}, "status_dict": {"success": 3, "x": 2}}
    theirs = {"successes": 1, "status_dict": {"success": 1, "HTTP Error 404: Not Found": 4}}
    (tmp_path / "00000_stats.json").write_text(json.dumps(ours))
    (tmp_path / "00001_stats.json").write_text(json.dumps(theirs))
    found = evidence.outcomes(folder_at(tmp_path), ["00000", "00001"])
    assert found == {"success": 4, "http_404": 2, "HTTP Error 404: Not Found": 4}


@pytest.mark.parametrize("content", [None, "", "{}", "[]", '{"successes": "many"}'])
def test_broken_stats_are_named(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "00000_stats.json").write_text(content)
    with pytest.raises(CorruptFile, match=r"00000_stats\.json"):
        evidence.outcomes(folder_at(tmp_path), ["00000"])


@pytest.mark.parametrize("content", [None, "", "[]", '{"notes": []}'])
def test_a_broken_comparison_is_named(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "compare.json").write_text(content)
    with pytest.raises(CorruptFile, match=r"compare\.json"):
        evidence.comparison(folder_at(tmp_path))
