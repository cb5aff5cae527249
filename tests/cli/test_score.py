"""`coyo score` and `coyo compare` as a user types them."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from coyo_tools.cli import main, score
from coyo_tools.pieces.scores import SCORES
from coyo_tools.verbs.score import ScoreResult
from tests.tars import FIRST_ID, picture, sample, write_shards, write_tar

BY_COLUMN = [c.name for score in SCORES for c in score.columns]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return int(end.value.code or 0), out, err


def test_scoring_prints_a_table_and_the_next_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tar(
        tmp_path / "s" / "00000.tar",
        [sample(0), sample(1, data=picture()[:-300]), sample(2, caption=None)],
    )
    columns = ("-c", "image_phash", "-c", "word_count")
    status, out, err = run(capsys, "score", tmp_path / "s", "-o", tmp_path / "o", *columns)
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].split() == ["column", "values", "nulls", "mean"]
    assert lines[1].split() == ["image_phash", "2", "1"]
    assert lines[2].split() == ["word_count", "2", "1", "2.000000"]
    assert lines[3] == "1 picture failed: corrupt_image 1"
    assert re.fullmatch(
        r"time of all threads: decode \S+ s; image_phash \S+ s; word_count \S+ s", lines[4]
    )
    assert "3 rows of 1 file," in lines[5]
    assert "next:" not in lines[5]  # tars hold no columns to compare with
    _, out, _ = run(capsys, "score", tmp_path / "s", "-o", tmp_path / "o", *columns)
    assert "was complete already" in out
    assert "time of" not in out


def test_the_next_command_can_be_typed_as_it_stands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shards = write_shards(tmp_path / "my shards", 1, 2)
    table = pa.table({"id": [FIRST_ID, FIRST_ID + 1], "word_count": [3, 3]})
    pq.write_table(table, shards / "00000.parquet")
    _, out, _ = run(capsys, "score", shards, "-o", tmp_path / "my scores", "-c", "word_count")
    words = shlex.split(out.splitlines()[-1].partition("next: coyo ")[2])
    words[-1] = str(tmp_path / "my comparison")
    status, out, _ = run(capsys, *words)
    assert status == 0
    assert f"next: coyo report '{words[-1]}' -o report.html" in out
    tar = shards / "00000.tar"
    _, out, _ = run(capsys, "score", tar, "-o", tmp_path / "of tar", "-c", "word_count")
    assert "next:" not in out


def test_no_rows_are_not_complete_already(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("score", write_shards(tmp_path / "s", 1, 0), "-o", tmp_path / "o", "-c", "word_count")
    first, again = (run(capsys, *asked)[1].splitlines()[-1] for _ in range(2))
    assert re.fullmatch(rf"0 rows of 1 file, \S+ s: {tmp_path / 'o'}", first)
    assert again == f"0 rows of 1 file, was complete already: {tmp_path / 'o'}"
    kept = {"rows": 0, "left_out": 0, "dimensions": None}
    made = ScoreResult("o", "s", 1, 0, {}, (), 0, 1.0, embeddings="e", embedded={"clip": kept})
    assert "embeddings of clip: 0 rows: e" in score._text(made).splitlines()


def test_what_shortcuts_changed_and_the_batches_are_said() -> None:
    apart = {
        "clip": {"mean": 0.000123, "largest": 0.0341, "rows": 32},
        "some": {"mean": 0.5, "largest": 0.5, "rows": 1, "lost": 31},
        "none": {"rows": 0, "lost": 32},
    }
    made = ScoreResult(
        "o", "s", 1, 2, {}, (), 2, 1.0, batch_sizes={"clip": 8}, precision_difference=apart
    )
    lines = score._text(made).splitlines()
    assert "clip: mean 0.00012, largest 0.034 from fp32 in the first 32 rows" in lines
    assert (
        "some: mean 0.5, largest 0.5 from fp32 in the first 1 row; no number in 31 rows for which "
        "fp32 has one" in lines
    )
    assert "none: no number in 32 rows for which fp32 has one" in lines
    assert "batches of: clip 8" in lines


def test_json_is_one_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shards = write_shards(tmp_path / "s", 1, 2)
    _, out, _ = run(capsys, "score", shards, "-o", tmp_path / "o", "-c", "word_count", "--json")
    assert json.loads(out)["rows"] == 2
    _, out, _ = run(capsys, "score", shards, "-o", tmp_path / "o2", "-c", "image_phash", "--json")
    assert json.loads(out)["columns"][0]["mean"] is None


def test_the_list_names_every_column(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "score", "--list")
    assert status == 0
    assert all(name in out for name in BY_COLUMN)
    _, out, _ = run(capsys, "score", "--list", "--json")
    rows = json.loads(out)
    assert [row["column"] for row in rows if "family" not in row] == list(BY_COLUMN)
    families = {row["family"]: row["suggestions"] for row in rows if "family" in row}
    assert "--model ViT-B-16 --pretrained dfn2b" in families["clip_similarity"]


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("score",), 2, "Missing argument 'INPUT'"),
        (("score", "x"), 2, "Missing option '-o'"),
        (("score", "x", "-o", "y"), 1, "no column named"),
        (("score", "x", "-o", "y", "-c", "image_phas"), 1, "did you mean 'image_phash'"),
        (("score", "x", "-o", "y", "-c", "watermark_score"), 1, "watermark_score cannot"),
        (("score", "x", "-o", "y", "-c", "word_count"), 1, "x: no such file or folder"),
        (("score", "x", "-o", "y", "-c", "word_count", "--batch-size", "0"), 2, "range x>=1"),
        (("score", "x", "-o", "y", "-c", "word_count", "--batch-size", "few"), 2, "'few' is not"),
        (("score", "x", "-o", "y", "-c", "word_count", "--device", "tpu"), 1, "'tpu' is no device"),
        (("compare", "x"), 2, "SOURCE"),
        (("compare", "x", "y", "-o", "z", "--max-mean-difference", "nan"), 2, "'nan' is not a n"),
        (("compare", "x", "y", "-o", "z"), 1, "x: no such file or folder"),
    ],
)
def test_mistakes_are_one_sentence(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], status: int, said: str
) -> None:
    found, out, err = run(capsys, *arguments)
    assert found == status
    assert out == ""
    assert said in err
    if status == 1:
        assert err.count("\n") == 1
