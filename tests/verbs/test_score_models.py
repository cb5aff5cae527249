"""`score` with the columns that need a model of their own: whole runs with real weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import coyo_tools
from coyo_tools.pieces.scores.archives import read_members
from coyo_tools.pieces.scores.weights_files import GANTMAN, SCRFD
from coyo_tools.words.config import ScoreSettings
from tests.pieces.scores.published import published
from tests.tars import FIRST_ID, picture, sample, write_tar

pytest.importorskip("cv2", reason="needs the score extra")
pytest.importorskip("onnxruntime", reason="needs the score extra")


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shard: one face, a broken picture, no face, 29 faces."""
    members = ["images/gauss.png", "images/solvay_conference_1927.jpg"]
    gauss, solvay = read_members(published(SCRFD), members).values()
    folder = tmp_path_factory.mktemp("faces")
    rows = [gauss, picture(1)[:-300], picture(2), solvay]
    write_tar(folder / "00000.tar", [sample(i, data=data) for i, data in enumerate(rows)])
    return folder


def test_faces_are_counted_and_their_boxes_kept(faces: Path, tmp_path: Path) -> None:
    settings = ScoreSettings(columns=("width",), boxes=True, batch_size=3)
    result = coyo_tools.score(faces, tmp_path / "o", settings)
    assert dict(result.errors) == {"corrupt_image": 1}
    assert result.rows == 4
    table = pq.read_table(tmp_path / "o" / "00000.parquet")
    assert table.schema.names == ["id", "key", "width", "num_faces", "face_boxes", "error"]
    assert table.schema.field("num_faces").type == pa.int32()
    assert table.schema.field("face_boxes").type == pa.list_(pa.list_(pa.float32()))
    found = table.to_pydict()
    assert found["num_faces"] == [1, None, 0, 29]
    boxes = found["face_boxes"]
    assert boxes[1] is None
    assert boxes[2] == []
    assert [len(box) for box in boxes[3]] == [5] * 29
    assert np.abs(np.array(boxes[0][0][:4]) - (376, 203, 654, 568)).max() < 4
    counts = {c.name: (c.values, c.nulls) for c in result.columns}
    assert counts["num_faces"] == counts["face_boxes"] == (3, 1)


def test_boxes_are_the_columns_they_stand_for(faces: Path, tmp_path: Path) -> None:
    short = ScoreSettings(columns=("num_faces",), boxes=True)
    long = ScoreSettings(columns=("num_faces", "face_boxes"), batch_size=1)
    coyo_tools.score(faces, tmp_path / "a", short)
    coyo_tools.score(faces, tmp_path / "b", long)
    assert (tmp_path / "a" / "00000.parquet").read_bytes() == (
        tmp_path / "b" / "00000.parquet"
    ).read_bytes()
    assert coyo_tools.score(faces, tmp_path / "a", long).rows_now == 0  # the same run


def test_compare_says_that_parity_of_faces_is_not_expected(faces: Path, tmp_path: Path) -> None:
    ids = [FIRST_ID, FIRST_ID + 2, FIRST_ID + 3]
    stored = pa.table({"id": ids, "num_faces": pa.array([1, 0, 28], pa.int32())})
    pq.write_table(stored, tmp_path / "metadata.parquet")
    coyo_tools.score(faces, tmp_path / "o", ScoreSettings(boxes=True))
    found = coyo_tools.compare(tmp_path / "o", tmp_path / "metadata.parquet", tmp_path / "c")
    assert list(found.columns) == ["num_faces"]
    assert found.columns["num_faces"]["equal"] == pytest.approx(2 / 3)
    assert "parity is not expected" in found.columns["num_faces"]["notes"][0]
    manifest = json.loads((tmp_path / "o" / "manifest.json").read_text())
    assert manifest["settings"]["weights"] == {"num_faces": f"sha256:{SCRFD.sha256}"}
    assert "onnxruntime" in manifest["versions"]


def test_gantmans_columns_come_together_and_are_written_as_asked(
    faces: Path, tmp_path: Path
) -> None:
    published(GANTMAN)
    columns = ("nsfw_gantman_porn", "nsfw_score_gantman", "nsfw_gantman_neutral")
    result = coyo_tools.score(faces, tmp_path / "o", ScoreSettings(columns=columns))
    table = pq.read_table(tmp_path / "o" / "00000.parquet")
    assert table.schema.names == ["id", "key", *columns, "error"]
    found = table.to_pydict()
    assert found["error"] == [None, "corrupt_image", None, None]
    assert found["nsfw_score_gantman"][1] is None
    for porn, summed in zip(found[columns[0]], found[columns[1]], strict=True):
        assert porn is None or 0 <= porn <= summed <= 1
    assert any("nsfw_gantman_sexy" in label for label in result.seconds_by_column)
    metadata = pa.table({"id": found["id"], "nsfw_score_gantman": pa.array([0.1] * 4, "float32")})
    pq.write_table(metadata, tmp_path / "metadata.parquet")
    compared = coyo_tools.compare(tmp_path / "o", tmp_path / "metadata.parquet", tmp_path / "c")
    assert "which classes COYO summed" in compared.columns["nsfw_score_gantman"]["notes"][0]
