"""Shards that follow one another in one stream: order, reading ahead, and faults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from coyo_tools.pieces.shard_reader import Shard, find_shards
from coyo_tools.stages import shard_stream
from coyo_tools.stages.crew import Crew
from coyo_tools.stages.decoders import Decoders
from coyo_tools.stages.score import ScoreWork
from coyo_tools.stages.score_table import Row
from coyo_tools.stages.shard_stream import ShardStream, prepared
from coyo_tools.words.errors import CorruptFile
from tests.stages import panels
from tests.tars import sample, write_tar

SIZES = (5, 0, 1, 9)


@pytest.fixture
def shards(tmp_path: Path) -> tuple[Shard, ...]:
    number = 0
    for index, size in enumerate(SIZES):
        rows = [sample(number + n) for n in range(size)]
        write_tar(tmp_path / "shards" / f"{index:05d}.tar", rows)
        number += size
    found = find_shards(tmp_path / "shards")
    assert found is not None
    return found.shards


def cut(shard: Shard) -> None:
    path = Path(shard.url)
    path.write_bytes(path.read_bytes()[: shard.bytes // 2 // 512 * 512 + 100])


@pytest.mark.parametrize("processes", [False, True])
@pytest.mark.parametrize("together", [1, 2, 100])
def test_each_shard_comes_before_its_rows(
    shards: tuple[Shard, ...], processes: bool, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_stream, "_ROWS", together)
    stream, panel = ShardStream(iter(shards)), panels.whole()
    with Crew(2, None) as crew:
        if processes:
            with Decoders(panels.whole, 2) as decoders:
                found = list(prepared(stream, panel, crew, decoders))
        else:
            found = list(prepared(stream, panel, crew))
    said: list[Any] = [x if isinstance(x, Shard) else x.row.id for x in found]
    expected: list[Any] = []
    for shard in shards:
        entries = [x for x in ShardStream(iter([shard])) if isinstance(x, Row)]
        expected += [shard, *(row.id for row in entries)]
    assert said == expected
    assert stream.fault is None
    assert stream.careful is None


def test_the_next_shard_is_read_while_rows_of_one_are_in_hand(shards: tuple[Shard, ...]) -> None:
    """So nothing that decodes waits at a shard's end."""
    begun: list[Shard] = []

    def noted() -> Any:
        for shard in shards:
            begun.append(shard)
            yield shard

    with Crew(2, None) as crew:
        found = prepared(ShardStream(noted()), panels.whole(), crew)
        next(found)
        assert begun == list(shards)


def test_the_stream_ends_before_a_shard_that_needs_care(shards: tuple[Shard, ...]) -> None:
    rest = iter(shards)
    stream = ShardStream(rest, lambda shard: shard == shards[2])
    assert [x for x in stream if isinstance(x, Shard)] == list(shards[:2])
    assert stream.careful == shards[2]
    assert list(rest) == [shards[3]]


@pytest.mark.parametrize("decode_in", ["threads", "processes"])
def test_shards_before_a_broken_one_are_written(
    shards: tuple[Shard, ...], tmp_path: Path, decode_in: str
) -> None:
    """Though it is read while their rows are in hand."""
    cut(shards[3])
    out = tmp_path / "out"
    out.mkdir()
    told: list[int] = []
    work = ScoreWork(str(out), ("image_phash", "width"), threads=2, decode_in=decode_in)
    done = work(iter(shards), told.append)
    for shard in shards[:3]:
        unit, scored = next(done)
        assert (unit, scored.rows) == (shard, SIZES[shards.index(shard)])
    with pytest.raises(CorruptFile, match=r"00003\.tar: is truncated"):
        next(done)
    assert sorted(p.name for p in out.glob("*.parquet")) == [f"0000{n}.parquet" for n in range(3)]
    assert [pq.read_metadata(p).num_rows for p in sorted(out.glob("*.parquet"))] == [5, 0, 1]
