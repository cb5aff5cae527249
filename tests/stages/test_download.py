"""The line of one `download` process: how many threads it decodes in."""

from __future__ import annotations

import io
import threading
import time
from pathlib import Path

import pyarrow as pa
import pytest

from coyo_tools.pieces.blocklist import BlockList
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
        self._pack = stage._pack
        monkeypatch.setattr(stage, "_pack", self.pack)

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


@pytest.mark.parametrize(("ended", "threads"), [(0, 1), (1, 1), (2, 3)])
def test_a_process_takes_the_cores_of_those_that_have_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ended: int, threads: int
) -> None:
    monkeypatch.setattr(stage, "_TELL_S", 0.05)
    at_once = AtOnce(monkeypatch)
    out, scratch = tmp_path / "out", tmp_path / "scratch"
    out.mkdir()
    (scratch / "ended").mkdir(parents=True)
    for number in range(ended):
        (scratch / "ended" / str(number)).touch()
    settings = DownloadSettings(allow_private_addresses=True, image_size=64, connections=8)
    with PictureServer() as server:
        work = stage.Download(
            settings, str(out), str(scratch), frozenset([0]), BlockList(), threads=1, processes=3
        )
        ((_, stats),) = work(iter([unit(server.urls(ROWS))]), lambda event: None)
    assert stats["count"] == ROWS
    former = 1 if threads > 1 else 0  # a thread that ends what it was given
    assert threads <= at_once.most <= threads + former
    assert len(list((scratch / "ended").iterdir())) == ended + 1
