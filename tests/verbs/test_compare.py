"""`compare` from folders to compare.json: figures, splits, refusals, the same bytes again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import coyo_tools
from coyo_tools.machinery.manifest import digest_of_ids
from coyo_tools.verbs import compare as verb
from coyo_tools.words.config import CompareSettings, ScoreSettings
from coyo_tools.words.errors import (
    ParityError,
    SchemaError,
    SettingsConflict,
    SettingsError,
    SourceError,
)
from tests.tars import FIRST_ID, write_shards

ZERO, NEAR, FAR, OTHER = "0" * 16, "00000000000000ff", "000000000000ffff", "f" * 16


def write(path: Path, **columns: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, row_group_size=2)
    return path


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    return write(
        tmp_path / "scores.parquet",
        id=[1, 2, 3, 4, 5],
        key=list("abcde"),
        image_phash=[ZERO, ZERO, ZERO, ZERO, None],
        clip_similarity_vitb32=pa.array([0.1, 0.2, 0.3, 0.4, 0.5], pa.float32()),
        word_count=pa.array([1, 2, 3, 4, None], pa.int32()),
        error=pa.array([None] * 5, pa.string()),
    )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write(
        tmp_path / "meta" / "p.parquet",
        id=[4, 3, 2, 1, 9],
        text=["t"] * 5,
        image_phash=[OTHER, FAR, NEAR, ZERO, ZERO],
        clip_similarity_vitb32=[0.9, 0.3, 0.2, 0.1, 0.0],  # a copy through JSON: float64
        word_count=pa.array([4, 3, 3, 1, 1], pa.int64()),
        watermark_score=[0.0] * 5,
    ).parent


def test_figures(scores: Path, source: Path, tmp_path: Path) -> None:
    found = coyo_tools.compare(scores, source, tmp_path / "out")
    assert found.rows == {
        "scores": 5,
        "joined": 4,
        "absent_from_source": 1,
        "without_id": 0,
        "duplicate_ids_in_scores": 0,
        "duplicate_ids_in_source": 0,
    }
    assert list(found.columns) == ["image_phash", "clip_similarity_vitb32", "word_count"]
    assert found.drift == {"same": 2, "drifted": 1, "replaced": 1, "unknown": 0}
    phash = found.columns["image_phash"]
    assert (phash["rows"], phash["equal"], phash["same_picture"]) == (4, 0.25, 0.5)
    clip = found.columns["clip_similarity_vitb32"]
    assert clip["precision"] == "float16"
    assert clip["rows"] == 4
    assert clip["equal"] == 0.75  # 0.1, 0.2 and 0.3 are the same float16
    assert clip["largest_difference"] == pytest.approx(0.5)
    assert clip["by_drift"]["replaced"]["mean_difference"] == pytest.approx(-0.5)
    assert clip["by_drift"]["same"]["rows"] == 2
    assert clip["by_drift"]["unknown"]["equal"] is None
    words = found.columns["word_count"]
    assert (words["precision"], words["rows"], words["equal_rows"]) == ("integer", 4, 3)
    assert words["by_drift"] == {}  # a column of the text does not care about the picture
    assert "sample_drift" not in words
    fates = zip(clip["sample"], clip["sample_drift"], strict=True)
    assert {round(stored, 3): fate for (stored, _), fate in fates}[0.9] == "r"


def test_columns_of_a_later_part_are_compared_too(source: Path, tmp_path: Path) -> None:
    """The first of the scores may lack them, or hold nothing there that is a number."""
    write(tmp_path / "s/0.parquet", id=[1, 2], clip_similarity_vitb32=pa.nulls(2), label=["a", "b"])
    write(tmp_path / "s/1.parquet", id=[3], clip_similarity_vitb32=[0.3], word_count=[3])
    write(tmp_path / "s/2.parquet", id=[4], word_count=[5], image_phash=[OTHER])
    found = coyo_tools.compare(tmp_path / "s", source, tmp_path / "out")
    assert {name: column["rows"] for name, column in found.columns.items()} == {
        "clip_similarity_vitb32": 1,
        "word_count": 2,
        "image_phash": 1,
    }
    assert found.columns["word_count"]["mean_absolute_difference"] == 0.5
    assert found.columns["image_phash"]["equal"] == 1.0
    with pytest.raises(SettingsError, match=r"text_length.* is not a column that both sides have"):
        coyo_tools.compare(
            tmp_path / "s", source, tmp_path / "no", CompareSettings(columns=("text_length",))
        )


def test_files(scores: Path, source: Path, tmp_path: Path) -> None:
    found = coyo_tools.compare(scores, source, tmp_path / "out")
    document = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert document == {
        "rows": found.rows,
        "drift": found.drift,
        "columns": found.columns,
        "notes": found.notes,
    }
    worst = pq.read_table(tmp_path / "out" / "differences.parquet").to_pylist()
    clip = [row for row in worst if row["column"] == "clip_similarity_vitb32"]
    assert clip[0]["id"] == 4
    assert clip[0]["drift"] == "replaced"
    assert float(clip[0]["stored"]) == pytest.approx(0.9)
    hashes = [(r["stored"], r["difference"]) for r in worst if r["column"] == "image_phash"]
    assert hashes == [(OTHER, 64), (FAR, 16), (NEAR, 8)]
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["files"] == ["compare.json", "differences.parquet", "scatter.svg"]
    sheet = ElementTree.fromstring((tmp_path / "out" / "scatter.svg").read_text())
    assert sheet.get("aria-label") == (
        "Recomputed over stored values of clip_similarity_vitb32, word_count"
    )
    assert [entry["side"] for entry in manifest["inputs"]] == ["scores", "source"]
    assert manifest["digest"] == digest_of_ids([np.array([1, 2, 3, 4])])


def test_overwriting_an_interrupted_run_leaves_no_drawing_of_it(
    scores: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(verb, "_write_differences", end)
    with pytest.raises(KeyboardInterrupt):
        coyo_tools.compare(scores, source, tmp_path / "out")
    monkeypatch.undo()
    hashes = CompareSettings(columns=("image_phash",))
    coyo_tools.compare(scores, source, tmp_path / "out", hashes, overwrite=True)
    assert not (tmp_path / "out" / "scatter.svg").exists()


def test_again_gives_the_same_bytes_and_does_nothing(
    scores: Path, source: Path, tmp_path: Path
) -> None:
    coyo_tools.compare(scores, source, tmp_path / "a")
    coyo_tools.compare(scores, source, tmp_path / "b")
    for name in ("compare.json", "differences.parquet", "scatter.svg", "manifest.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    before = (tmp_path / "a" / "compare.json").stat().st_mtime_ns
    again = coyo_tools.compare(scores, source, tmp_path / "a")
    assert (tmp_path / "a" / "compare.json").stat().st_mtime_ns == before
    assert again.rows["joined"] == 4


def test_columns_can_be_chosen(scores: Path, source: Path, tmp_path: Path) -> None:
    found = coyo_tools.compare(
        scores, source, tmp_path / "out", CompareSettings(columns=("clip_similarity_vitb32",))
    )
    assert list(found.columns) == ["clip_similarity_vitb32"]
    assert found.drift["replaced"] == 1  # the hashes are read all the same
    with pytest.raises(SettingsConflict, match="columns was"):
        coyo_tools.compare(scores, source, tmp_path / "out")


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ("word_cnt", "did you mean 'word_count'"),
        ("watermark_score", "never published"),
        ("text_length", "'text_length' is not a column that both sides have"),
    ],
)
def test_a_column_that_is_not_on_both_sides(
    scores: Path, source: Path, tmp_path: Path, column: str, said: str
) -> None:
    with pytest.raises(SettingsError, match=said):
        coyo_tools.compare(scores, source, tmp_path / "out", CompareSettings(columns=(column,)))
    assert not (tmp_path / "out").exists()


def test_nothing_in_common_is_named(scores: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "o.parquet", id=[1], width=pa.array([3], pa.int32()))
    with pytest.raises(SchemaError, match="has none of the columns"):
        coyo_tools.compare(scores, other, tmp_path / "out")
    strangers = write(tmp_path / "s.parquet", id=[77], word_count=pa.array([3], pa.int32()))
    with pytest.raises(SourceError, match="there is nothing to compare"):
        coyo_tools.compare(scores, strangers, tmp_path / "out")


def test_the_hash_of_the_original_decides_where_it_is_known(scores: Path, tmp_path: Path) -> None:
    """Resizing moved the recomputed hash, but what was fetched is the published picture."""
    shards = write(
        tmp_path / "shards.parquet",
        id=[1, 2],
        image_phash=[FAR, ZERO],
        image_phash_now=[FAR, OTHER],
        clip_similarity_vitb32=[0.1, 0.2],
    )
    found = coyo_tools.compare(scores, shards, tmp_path / "out")
    assert found.drift == {"same": 1, "drifted": 0, "replaced": 1, "unknown": 0}


def test_a_limit_for_ci(scores: Path, source: Path, tmp_path: Path) -> None:
    found = coyo_tools.compare(scores, source, tmp_path / "out")
    found.check(1.0)
    with pytest.raises(
        ParityError, match=r"clip_similarity_vitb32: mean absolute difference 0\.125"
    ):
        found.check(0.01)


def test_what_cannot_be_said_is_no_agreement(tmp_path: Path) -> None:
    """A column without one value on both sides, or with an infinite difference, fails in CI."""
    ours = write(tmp_path / "s.parquet", id=[1, 2], a=[None, 2.0], b=[np.inf, 1.0], c=[1.0, 1.0])
    theirs = write(tmp_path / "t.parquet", id=[1, 2], a=[1.0, None], b=[0.0, 1.0], c=[1.0, 2.0])
    found = coyo_tools.compare(ours, theirs, tmp_path / "out")
    with pytest.raises(ParityError, match=r"a: its mean absolute .* not known; so do b, c"):
        found.check(0.1)
    with pytest.raises(ParityError, match=r"a: .*; so do b;"):
        found.check(0.5)


def test_a_limit_that_no_column_could_go_beyond_is_refused(
    scores: Path, source: Path, tmp_path: Path
) -> None:
    asked = CompareSettings(columns=("image_phash",), max_mean_difference=0)
    with pytest.raises(SettingsError, match=r"^--max-mean-difference: is a limit for numbers, and"):
        coyo_tools.compare(scores, source, tmp_path / "out", asked)
    assert not (tmp_path / "out").exists()


def test_sides_without_rows_are_named(scores: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.parquet"
    pq.write_table(pq.read_table(scores).slice(0, 0), empty)
    for sides in ((empty, scores), (scores, empty)):
        with pytest.raises(SourceError, match=r"empty\.parquet: holds no rows to compare"):
            coyo_tools.compare(*sides, tmp_path / "out")


def test_columns_that_are_neither_numbers_nor_hashes_are_named(tmp_path: Path) -> None:
    columns: dict[str, Any] = {"id": [1], "labels": [["cat"]], "flag": [True], "word_count": [3]}
    ours, theirs = (write(tmp_path / f"{side}.parquet", **columns) for side in "st")
    found = coyo_tools.compare(ours, theirs, tmp_path / "out")
    assert found.notes == ["neither numbers nor hashes, not compared: labels, flag"]
    with pytest.raises(SettingsError, match="'flag' is neither numbers nor hashes; those are word"):
        coyo_tools.compare(ours, theirs, tmp_path / "c", CompareSettings(columns=("flag",)))
    chosen = CompareSettings(columns=("word_count",))
    assert coyo_tools.compare(ours, theirs, tmp_path / "w", chosen).notes == []


def test_whole_numbers_beyond_int64(tmp_path: Path) -> None:
    big = [2**63 + 1, 2**64 - 1, 5]
    ours = write(tmp_path / "s.parquet", id=[1, 2, 3], own=pa.array(big, pa.uint64()))
    theirs = write(tmp_path / "t.parquet", id=[1, 2, 3], own=pa.array([1, -1, 5], pa.int64()))
    found = coyo_tools.compare(ours, theirs, tmp_path / "out").columns["own"]
    assert (found["precision"], found["equal_rows"]) == ("integer", 1)
    assert found["mean_difference"] == pytest.approx(2**63)


def test_only_hashes_draw_nothing(scores: Path, tmp_path: Path) -> None:
    theirs = write(tmp_path / "t.parquet", id=[1, 2], image_phash=[ZERO, OTHER])
    found = coyo_tools.compare(scores, theirs, tmp_path / "out")
    assert list(found.columns) == ["image_phash"]
    assert not (tmp_path / "out" / "scatter.svg").exists()


def test_another_watermark_model_is_not_set_against_coyos(tmp_path: Path) -> None:
    ours = write(tmp_path / "s.parquet", id=[1], watermark_score_laion=[0.5], word_count=[3])
    theirs = write(tmp_path / "t.parquet", id=[1], watermark_score=[0.1], word_count=[3])
    found = coyo_tools.compare(ours, theirs, tmp_path / "out")
    assert list(found.columns) == ["word_count"]
    (note,) = found.notes
    assert note.startswith(
        "parity with watermark_score is not expected of watermark_score_laion, so they are not "
    )
    alone = write(tmp_path / "u.parquet", id=[1], watermark_score=[0.1])
    with pytest.raises(SchemaError, match="parity with watermark_score is not expected"):
        coyo_tools.compare(ours, alone, tmp_path / "none")


def test_columns_named_like_the_caption_are_compared_without_a_word(tmp_path: Path) -> None:
    row = {"id": [1], "text_length": [12], "text": ["twelve chars"], "url": ["http://a.example/"]}
    ours = write(tmp_path / "s.parquet", id=[1], text_length=[12], url_depth=[2])
    found = coyo_tools.compare(ours, write(tmp_path / "t.parquet", **row), tmp_path / "out")
    assert list(found.columns) == ["text_length"]
    assert list(found.notes) == []


def test_columns_without_parity_say_so(tmp_path: Path) -> None:
    ours = write(tmp_path / "s.parquet", id=[1], num_faces=pa.array([3], pa.int32()))
    theirs = write(tmp_path / "t.parquet", id=[1], num_faces=pa.array([2], pa.int32()))
    found = coyo_tools.compare(ours, theirs, tmp_path / "out")
    (note,) = found.columns["num_faces"]["notes"]
    assert note.startswith("parity is not expected: which SCRFD")


def test_scores_of_shards_against_their_metadata(tmp_path: Path) -> None:
    shards = write_shards(tmp_path / "shards", 2, 3)
    columns = ("word_count", "text_length", "image_phash")
    coyo_tools.score(shards, tmp_path / "scores", ScoreSettings(columns=columns))
    meta = write(
        tmp_path / "meta" / "p.parquet",
        id=[FIRST_ID + n for n in range(6)] + [FIRST_ID],
        text_length=pa.array([len(f"picture number {n}") + n for n in range(6)] + [0], pa.int32()),
        word_count=pa.array([3] * 7, pa.int32()),
    )
    found = coyo_tools.compare(tmp_path / "scores", meta, tmp_path / "out")
    assert list(found.columns) == ["word_count", "text_length"]
    assert all(column["equal"] == 1.0 for column in found.columns.values())
    assert found.rows["duplicate_ids_in_source"] == 1
    assert found.drift["unknown"] == 6


def test_the_width_of_a_shard_is_not_the_width_of_its_metadata(tmp_path: Path) -> None:
    ours = write(tmp_path / "s.parquet", id=[1], width=pa.array([1200], pa.int32()), word_count=[2])
    theirs = write(
        tmp_path / "t.parquet", id=[1], width=[384], metadata_width=[1200], word_count=[2]
    )
    found = coyo_tools.compare(ours, theirs, tmp_path / "out")
    assert list(found.columns) == ["word_count"]


def test_the_scores_own_run_is_quoted(tmp_path: Path) -> None:
    from coyo_tools.machinery.manifest import Manifest
    from coyo_tools.verbs.compare import _notes

    run = Manifest(
        "score",
        {"precision": "fp16"},
        [],
        result={
            "pictures": {"resize": "keep_ratio", "image_size": 256},
            "precision_difference": {"clip": {"mean": 0.00012, "largest": 0.0031, "rows": 32}},
        },
    )
    resized, half, apart = _notes(run)
    assert "resized to 256 px (keep_ratio)" in resized
    assert "fp16" in half
    assert "by 0.00012 in the mean of the first 32 rows, 0.0031 at most" in apart
    assert _notes(None) == []
