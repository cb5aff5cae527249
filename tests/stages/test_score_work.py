"""A worker of `score` in this process, with a small CLIP: bytes, reading, shortcuts."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import IO, Any

import pyarrow.parquet as pq
import pytest

from coyo_tools.pieces import scores, shard_reader
from coyo_tools.pieces.scores import clip, clip_similarity
from coyo_tools.pieces.scores.base import Score
from coyo_tools.pieces.scores.clip import ClipModel
from coyo_tools.pieces.shard_reader import find_shards
from coyo_tools.stages import score_table
from coyo_tools.stages.score import Scored, ScoreWork
from coyo_tools.stages.score_difference import MEASURED_ROWS, from_metadata
from coyo_tools.words.errors import EngineError
from tests import tiny_clip
from tests.tars import photographs, sample, write_shards, write_tar

torch = pytest.importorskip("torch", reason="needs the score extra")
pytest.importorskip("open_clip", reason="needs the score extra")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's and open_clip's own

CLIP = clip_similarity.VIT_B_32.name
LIGHT = ("image_phash", "width", "height", "text_length", "word_count")
TOKENS = ("num_tokens_bert", "num_tokens_gpt")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_clip.make(tmp_path_factory.mktemp("clip"))


@pytest.fixture(autouse=True)
def small_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    """The column of ViT-B-32, with a model that is quick."""
    from dataclasses import replace

    encoder = clip.encoder(ClipModel(tiny_clip.NAME, quick_gelu=True), clip.CLIP_VIT_B_32)
    small: Score = replace(clip_similarity.VIT_B_32, encoder=encoder)
    known = tuple(small if score.name == CLIP else score for score in scores.SCORES)
    monkeypatch.setattr(scores, "known_scores", lambda: known)
    scores.score_of.cache_clear()
    yield
    scores.score_of.cache_clear()


def run(
    shards: Path, out: Path, weights: Path, *columns: str, **rest: Any
) -> tuple[Scored, list[int]]:
    found = find_shards(shards)
    assert found is not None
    out.mkdir()
    told: list[int] = []
    work = ScoreWork(str(out), columns or (CLIP,), {CLIP: str(weights)}, **rest)
    total = Scored(0)
    for _, scored in work(iter(found.shards), told.append):
        total += scored
    return total, told


def digests(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.glob("*.parquet")}


def test_any_number_of_threads_gives_the_same_bytes(tmp_path: Path, weights: Path) -> None:
    shards = write_shards(tmp_path / "shards", 3, 21)
    for threads in (1, 2, 5):
        total, told = run(shards, tmp_path / str(threads), weights, CLIP, *LIGHT, threads=threads)
        assert total.rows == sum(told) == 63
        assert total.batch_sizes == {CLIP: 8}
    assert digests(tmp_path / "1") == digests(tmp_path / "2") == digests(tmp_path / "5")
    values = pq.read_table(tmp_path / "1" / "00001.parquet").column(CLIP).to_pylist()
    assert len(set(values)) == 21


def test_each_tar_is_read_once_and_each_picture_decoded_once_for_all_columns(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: Counter[str] = Counter()
    read: Counter[str] = Counter()
    original, decode = shard_reader.open_shard, score_table.decode

    class Counted:
        def __init__(self, handle: IO[bytes], name: str) -> None:
            self._handle, self._name = handle, name

        def read(self, size: int = -1) -> bytes:
            data = self._handle.read(size)
            read[self._name] += len(data)
            return data

        def __enter__(self) -> Counted:
            return self

        def __exit__(self, *_: object) -> None:
            self._handle.close()

    def counting(shard: Any) -> Any:
        opened[shard.name] += 1
        return Counted(original(shard), shard.name)

    decoded: list[int] = []
    monkeypatch.setattr(shard_reader, "open_shard", counting)
    monkeypatch.setattr(score_table, "decode", lambda *a: decoded.append(1) or decode(*a))
    shards = write_shards(tmp_path / "shards", 20, 3)
    columns = (CLIP, *LIGHT, *TOKENS)
    total, _ = run(shards, tmp_path / "out", weights, *columns, threads=2)
    assert total.rows == len(decoded) == 60
    assert opened == Counter({f"{n:05d}.tar": 1 for n in range(20)})
    assert read == Counter({p.name: p.stat().st_size for p in shards.iterdir()})
    by_column = {name for label in total.seconds for name in label.split(", ")}
    assert by_column == {"decode", *columns}
    assert all(seconds > 0 for seconds in total.seconds.values())


def test_a_picture_that_is_none_costs_its_row_alone(tmp_path: Path, weights: Path) -> None:
    good = [sample(n) for n in range(20)]
    write_tar(tmp_path / "good" / "00000.tar", good)
    odd = [*good[:7], sample(7, data=b"bad"), *good[8:11], sample(11, caption=None), *good[12:]]
    write_tar(tmp_path / "odd" / "00000.tar", odd)
    for name in ("good", "odd"):
        run(tmp_path / name, tmp_path / f"out-{name}", weights, threads=2)
    tables = [pq.read_table(tmp_path / f"out-{n}" / "00000.parquet") for n in ("good", "odd")]
    expected, found = (table.column(CLIP).to_pylist() for table in tables)
    assert [n for n in range(20) if found[n] is None] == [7, 11]
    assert tables[1].column("error").to_pylist()[7] == "not_an_image"
    others = [n for n in range(20) if n not in (7, 11)]
    assert [found[n] for n in others] == pytest.approx([expected[n] for n in others], abs=1e-6)


@pytest.mark.parametrize(
    "shortcut",
    [{"precision": "bf16"}, {"resize_on_device": True}, {"scaled_decoding": True}],
    ids=lambda shortcut: next(iter(shortcut)),
)
def test_what_a_shortcut_does_is_kept_in_the_first_file(
    tmp_path: Path, weights: Path, shortcut: dict[str, Any]
) -> None:
    pictures = photographs(12)
    for name, start in (("00000.tar", 0), ("00001.tar", 40)):
        shard = [sample(start + n, data=pictures[n % 12]) for n in range(MEASURED_ROWS + 3)]
        write_tar(tmp_path / "shards" / name, shard)
    run(tmp_path / "shards", tmp_path / "exact", weights, LIGHT[3], CLIP, threads=2)
    rest = {"threads": 2, "measured": "00000.parquet"} | shortcut
    run(tmp_path / "shards", tmp_path / "short", weights, LIGHT[3], CLIP, **rest)
    first, second = (
        from_metadata(pq.read_metadata(tmp_path / "short" / f"0000{n}.parquet").metadata)
        for n in (0, 1)
    )
    exact, short = (
        pq.read_table(tmp_path / name / "00000.parquet").column(CLIP).to_numpy()[:MEASURED_ROWS]
        for name in ("exact", "short")
    )
    apart = abs(exact.astype(float) - short.astype(float))
    assert first[CLIP] == pytest.approx(
        {"mean": apart.mean(), "largest": apart.max(), "rows": MEASURED_ROWS}, abs=1e-7
    )
    assert first[CLIP]["largest"] > 0
    assert set(first) == {CLIP}
    assert second == {}


def test_an_error_in_a_batch_ends_the_work(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> Any:
        raise RuntimeError("a bug")

    monkeypatch.setattr(clip.ClipEncoder, "embed_texts", fails)
    shards = write_shards(tmp_path / "shards", 2, 40)
    with pytest.raises(EngineError, match=rf"{CLIP}.*: the score failed in a batch: Runtime.*bug"):
        run(shards, tmp_path / "out", weights, threads=2)
    assert list((tmp_path / "out").glob("*.parquet")) == []
