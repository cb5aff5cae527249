import json
from pathlib import Path

import pytest

from coyo_tools.pieces.report import reading
from coyo_tools.pieces.report.evidence import recognise
from coyo_tools.pieces.report.reading import read_gallery, read_scores, read_shards
from coyo_tools.pieces.report.reading_subset import marks_of, read_subset
from tests.pieces.report import folders


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("folders")
    folders.metadata(root / "metadata")
    kept = folders.subset(root / "subset", root / "metadata")
    folders.shards(root / "shards", kept, a_shard=10)
    folders.scores(root / "scores", root / "shards")
    return root


def test_bounds_of_rules_by_column() -> None:
    marks = marks_of(
        [
            {"min_side": 256},
            {"max_nsfw": 0.3},
            {"max_side": 4000},
            {"max_aspect_ratio": 2},
            {"where": "id > 1"},
            {"text_matches": "a"},
            {"min_side": 300},
            {"no_such_rule": 1},
        ]
    )
    assert {n: [(m.at, m.keeps) for m in found] for n, found in marks.items()} == {
        "width": [(300, "above"), (4000, "below")],
        "height": [(300, "above"), (4000, "below")],
        "nsfw_score_opennsfw2": [(0.3, "below")],
        "nsfw_score_gantman": [(0.3, "below")],
    }
    assert [m.label for m in marks["width"]] == ["\u2265 300", "\u2264 4,000"]


def test_a_bound_on_whole_numbers_lies_between_them(made: Path) -> None:
    view = read_subset(recognise(str(made / "subset")), 1000)
    sides = {column.name: column for column in view.columns}
    clip = sides["clip_similarity_vitl14"]
    assert [(m.at, m.note) for m in clip.marks] == [(0.22, "keeps 76.92\u202f% of the source")]
    assert [side.kind for side in clip.sides] == ["before", "after"]
    assert clip.sides[1].summary.minimum is not None
    assert clip.sides[1].summary.minimum >= 0.22
    assert list(sides)[:2] == ["width", "height"]
    assert "id" not in sides


def test_counts_are_those_of_the_manifest_or_of_the_stats(made: Path, tmp_path: Path) -> None:
    view = read_shards(recognise(str(made / "shards")), 1000)
    stats = [json.loads(p.read_text()) for p in (made / "shards").glob("*_stats.json")]
    assert view.rows == sum(s["count"] for s in stats)
    assert view.successes == sum(s["successes"] for s in stats)
    assert sum(view.errors.values()) == view.rows - view.successes
    assert sum(view.drift.values()) == view.successes
    rows = folders.metadata(tmp_path / "metadata", rows=20)
    folders.shards(tmp_path / "shards", rows, manifest=False)
    bare = read_shards(recognise(str(tmp_path / "shards")), 1000)
    assert bare.rows == 20


def test_of_very_many_parts_some_are_opened(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_MOST_PARTS", 3)
    view = read_shards(recognise(str(made / "shards")), 1000)
    assert (view.rows, view.sampled) == (
        84,
        "Read: 30 of 84 rows of the shards, in whole row groups spread evenly.",
    )
    assert read_scores(recognise(str(made / "scores")), 1000).rows == 64


def test_pictures_come_from_every_shard_with_their_own_scores(made: Path) -> None:
    shards, scores = recognise(str(made / "shards")), recognise(str(made / "scores"))
    view = read_gallery(shards, [scores], 18)
    assert len(view.pictures) == 18
    assert len({picture.shard for picture in view.pictures}) == 9
    for picture in view.pictures:
        assert picture.row["key"] == picture.key
        assert picture.scores["text_length"] == len(picture.row["caption"])
    assert read_gallery(shards, [], 0).pictures == ()


def test_a_huge_gallery_stops_at_its_bytes(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_MOST_PICTURE_BYTES", 50_000)
    view = read_gallery(recognise(str(made / "shards")), [], 60)
    assert 0 < len(view.pictures) < 60
