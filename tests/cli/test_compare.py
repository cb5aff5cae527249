"""`coyo compare` as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from coyo_tools.cli import main
from tests.cli.test_score import run
from tests.tars import FIRST_ID, write_shards


@pytest.fixture
def folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Path, Path]:
    shards = write_shards(tmp_path / "shards", 1, 4)
    columns = ("-c", "image_phash", "-c", "word_count")
    run(capsys, "score", shards, "-o", tmp_path / "scores", *columns)
    hashes = pq.read_table(tmp_path / "scores" / "00000.parquet").column("image_phash").to_pylist()
    table = {
        "id": [FIRST_ID + n for n in range(4)] + [FIRST_ID],
        "image_phash": [*hashes[:3], "f" * 16, None],
        "word_count": pa.array([3, 3, 3, 4, 9], pa.int32()),
    }
    pq.write_table(pa.table(table), tmp_path / "meta.parquet")
    return tmp_path / "scores", tmp_path / "meta.parquet"


def test_a_table_and_what_to_know(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = run(capsys, "compare", *folders, "-o", tmp_path / "out")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("column ")
    assert lines[1].split()[:4] == ["image_phash", "4", "75.00", "%"]
    assert lines[2].split()[:5] == ["word_count", "4", "75.00", "%", "-0.2500"]
    assert "1 row of SOURCE repeats an id: the first counts" in out
    assert "4 rows joined; pictures: 3 same, 1 replaced" in lines[-1]
    assert "next: coyo report" in lines[-1]


def test_status_for_ci(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("compare", *folders, "-o", tmp_path / "out", "--json")
    status, out, err = run(capsys, *asked, "--max-mean-difference", "0.3")
    assert (status, err) == (0, "")
    status, out, err = run(capsys, *asked, "--max-mean-difference", "0.2")
    assert status == 1
    assert json.loads(out)["columns"]["word_count"]["mean_absolute_difference"] == 0.25
    assert "word_count: mean absolute difference 0.25 is above 0.2" in err


def test_help_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["compare", "--help"])
    assert "coyo compare scores shards -o comparison" in capsys.readouterr().out
