"""Shards by img2dataset, which fetches and resizes in processes of its own; packed as ever.

It is asked for some shards at a time. Its own shards lie in a temporary folder; ours are
complete or absent, keyed by id, in the input's order.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from coyo_tools.machinery import open_files
from coyo_tools.pieces.img2dataset import ROW, SHARD, arguments, failure_of
from coyo_tools.pieces.rows import Outcome
from coyo_tools.pieces.tally import Tally
from coyo_tools.stages.open_shard import OpenShard, ShardUnit
from coyo_tools.stages.packing import outcomes_of, publish
from coyo_tools.words.config import DownloadSettings
from coyo_tools.words.errors import EngineError
from coyo_tools.words.failures import Failure

SHARDS_A_PROCESS = 2  # asked for at a time: each start costs it seconds, each shard disk space
_QUIET = {"NO_ALBUMENTATIONS_UPDATE": "1", "WANDB_MODE": "disabled"}

# In a session of its own, which ends with the process that started it, however that ends.
_CHILD = """
import json, os, signal, sys, threading
asked = json.loads(sys.stdin.buffer.readline())
def end_with_parent():
    while os.read(0, 1):
        pass
    os.killpg(0, signal.SIGKILL)
threading.Thread(target=end_with_parent, daemon=True).start()
from img2dataset import download
download(**asked)
"""


@dataclass(frozen=True)
class Img2dataset:
    """The work over shards. scratch: a local folder. processes: that it is to start."""

    settings: DownloadSettings
    out: str
    scratch: str
    processes: int

    def __call__(
        self, units: Iterator[ShardUnit], emit: Callable[[Any], None]
    ) -> Iterator[tuple[ShardUnit, dict[str, Any]]]:
        """Yield each shard's unit with its stats, as they are finished."""
        open_files.allow(self.settings.connections + open_files.BESIDE)  # its processes inherit it
        while batch := list(islice(units, SHARDS_A_PROCESS * self.processes)):
            batch.sort(key=lambda unit: unit.number)  # an earlier one has what a later one repeats
            yield from self._make(batch, emit)

    def _make(
        self, batch: Sequence[ShardUnit], emit: Callable[[Any], None]
    ) -> Iterator[tuple[ShardUnit, dict[str, Any]]]:
        opened = [OpenShard(u, self.out, with_phash=False, careful=None) for u in batch]
        try:
            with tempfile.TemporaryDirectory(dir=self.scratch) as name:
                tally = Tally()
                found = self._ask(opened, Path(name), tally)
                while opened:
                    shard = opened[0]
                    stats = self._pack(shard, found.get(shard.unit.number), tally)
                    opened.pop(0)
                    if (news := tally.take()) is not None:
                        emit(news)
                    yield shard.unit, stats
        finally:
            for shard in opened:
                shard.writer.abort()

    def _ask(self, opened: Sequence[OpenShard], folder: Path, tally: Tally) -> dict[int, Path]:
        """Have the rows fetched; gives the file of each shard."""
        import pyarrow.parquet as pq

        rows, out = folder / "rows", folder / "out"
        rows.mkdir()
        asked = [shard for shard in opened if self._write_rows(shard, rows, tally)]
        if not asked:
            return {}
        run_child(arguments(self.settings, str(rows), str(out), self.processes), folder / "log")
        found = {}
        for path in out.glob("*.parquet"):
            with pq.ParquetFile(path) as file:  # noqa: TID251  of a path
                numbers = file.read([SHARD]).column(0)
            if len(numbers):
                found[int(numbers[0].as_py())] = path
        return found

    def _write_rows(self, shard: OpenShard, folder: Path, tally: Tally) -> bool:
        """Write the rows to fetch; False where there are none. What is no url is not handed over:
        the other side would open file: and ftp: too."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        from coyo_tools.pieces.fetch import parse_url

        wanted = []
        for row in shard.fetch:
            sound = parse_url(shard.rows.urls[row])
            if isinstance(sound, Failure):
                _add(shard, row, Outcome(sound), tally)
            else:
                wanted.append(row)
        if wanted:
            table = pa.table(
                {
                    "url": [shard.rows.urls[row] for row in wanted],
                    SHARD: [shard.unit.number] * len(wanted),
                    ROW: wanted,
                }
            )
            pq.write_table(table, folder / f"{shard.unit.number:09d}.parquet")
        shard.fetch[:] = wanted
        return bool(wanted)

    def _pack(self, shard: OpenShard, path: Path | None, tally: Tally) -> dict[str, Any]:
        import pyarrow.parquet as pq

        left = dict.fromkeys(shard.fetch)
        if path is not None:
            with pq.ParquetFile(path) as file:  # noqa: TID251  of a path
                for piece in file.iter_batches(100):
                    for row in piece.to_pylist():
                        del left[row[ROW]]
                        _add(shard, row[ROW], self._outcome(row), tally)
        for row in left:
            _add(shard, row, Outcome(Failure("internal", "img2dataset left the row out")), tally)
        self._copy(shard, tally)
        return publish(shard, self.out, self.scratch)

    def _outcome(self, row: Mapping[str, Any]) -> Outcome:
        if row["status"] != "success":
            return Outcome(failure_of(row))
        picture = row[self.settings.format]
        return Outcome(
            None, self.settings.format, picture, row["width"], row["height"],
            row["original_width"], row["original_height"], row["sha256"],
            fetched_bytes=len(picture),  # how long the body was it does not tell
        )  # fmt: skip

    def _copy(self, shard: OpenShard, tally: Tally) -> None:
        """Rows whose url an earlier shard has."""
        size = self.settings.samples_per_shard
        by_shard: dict[int, dict[int, int]] = {}
        for row, owner in shard.elsewhere.items():
            by_shard.setdefault(owner // size, {})[row] = owner % size
        for number, wanted in by_shard.items():
            for row, (url, outcome) in outcomes_of(self.out, number, wanted).items():
                if url != shard.rows.urls[row]:
                    outcome = Outcome(Failure("internal", "another url has the same hash"))
                _add(shard, row, outcome, tally)


def _add(shard: OpenShard, row: int, outcome: Outcome, tally: Tally) -> None:
    """Write a row and those that follow it, and count them."""
    rows = shard.add(row, outcome)
    error = outcome.failure.error if outcome.failure else None
    tally.add(rows, error, outcome.fetched_bytes)


def run_child(asked: Mapping[str, Any], log: Path) -> None:
    """Call `img2dataset.download` in a process of its own. Raises EngineError."""
    with log.open("wb") as said:
        child = subprocess.Popen(  # noqa: S603  our own interpreter, our own code
            [sys.executable, "-c", _CHILD],
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=said,
            env=os.environ | _QUIET,
            start_new_session=True,
        )
        assert child.stdin is not None
        try:
            child.stdin.write(json.dumps(asked).encode() + b"\n")
            child.stdin.flush()
            status = child.wait()
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
            child.stdin.close()
    if status:
        last = log.read_text(errors="replace").strip().rsplit("\n", 1)[-1]
        raise EngineError(f"ended with status {status}: {last[:300]}", where="img2dataset")
