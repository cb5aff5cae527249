"""The line of one `download` process: the threads it decodes in, and those it lends."""

from __future__ import annotations

import io
import threading
import time
from pathlib import Path

import pyarrow as pa
import pytest

from coyo_tools.pieces.blocklist import BlockList
from coyo_tools.pieces.images import process
from coyo_tools.pieces.lending import Borrower
from coyo_tools.stages import download as stage
from coyo_tools.stages.open_shard import ShardUnit
from coyo_tools.words.config import DownloadSettings
from tests.servers.pictures import PictureServer

ROWS = 30


def unit(urls: list[str]) -> ShardUnit:
    table = pa.table({"id": range(len(urls)), "url": urls, "caption": ["a"] * len(urls)})
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return ShardUnit(0, 0, sink.getvalue())


class AtOnce:
    """How many threads pack rows at once, at most."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.most, self._now, self._lock = 0, 0, threading.Lock()
        self._pack = stage.pack
        monkeypatch.setattr(stage, "pack", self.pack)

    def pack(self, *given):
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        time.sleep(0.02)
        try:
            return self._pack(*given)
        finally:
            with self._lock:
                self._now -= 1


def work_in(tmp_path: Path, **given) -> stage.Download:
    out, scratch = tmp_path / "out", tmp_path / "scratch"
    out.mkdir()
    scratch.mkdir()
    settings = DownloadSettings(allow_private_addresses=True, image_size=64, connections=8)
    return stage.Download(settings, str(out), str(scratch), blocked=BlockList(), threads=1, **given)


@pytest.mark.parametrize(("lenders", "threads"), [(0, 1), (2, 5)])
def test_a_process_decodes_in_the_cores_of_those_that_have_no_rows_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lenders: int, threads: int
) -> None:
    at_once = AtOnce(monkeypatch)
    work = work_in(tmp_path, todo=frozenset([0]), processes=3)
    others = [threading.Thread(target=work._lend) for _ in range(lenders)]
    for other in others:
        other.start()
    with PictureServer() as server:
        ((_, stats),) = work(iter([unit(server.urls(ROWS))]), lambda event: None)
    for other in others:
        other.join(10)
        assert not other.is_alive()
    assert stats["count"] == ROWS
    assert at_once.most == threads, "each lender is handed two pictures at a time"


def test_a_process_without_rows_lends_its_decoder_until_all_shards_are_done(tmp_path: Path) -> None:
    work = work_in(tmp_path, todo=frozenset([0, 1]), processes=2)
    with PictureServer() as server:
        one = threading.Thread(
            target=lambda: list(work(iter([unit(server.urls(ROWS))]), lambda event: None))
        )
        one.start()
        borrower = Borrower(Path(work.scratch) / "lent", work.settings, 1)
        while not borrower.look():
            assert one.is_alive()
            time.sleep(0.01)
        assert borrower.process(b"no picture") == process(b"no picture", work.settings)
        (Path(work.scratch) / "done-1").touch()
        one.join(10)
    assert not one.is_alive()
    assert list((Path(work.scratch) / "lent").iterdir()) == []
