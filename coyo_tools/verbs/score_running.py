"""Units of `score` run by workers: how many, on what, and what they say meanwhile."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from coyo_tools.machinery import engine
from coyo_tools.pieces.scores import choose
from coyo_tools.pieces.shard_reader import Shard
from coyo_tools.stages.score import Scored, ScoreWork, Unit
from coyo_tools.words.progress import Listener, Progress

_SMALL_BYTES = 64_000_000  # of input that one process scores before others have started


def compute(
    work: ScoreWork,
    devices: Sequence[str],
    workers: int | None,
    left: Sequence[Unit],
    units: int,
    progress: Listener,
) -> Scored:
    """Score the units that are left of so many; what this run did."""
    teller = _Teller(progress, units, left)
    cores = workers or engine.cores()
    total = Scored(0)
    with tempfile.TemporaryDirectory(prefix="coyo-") as scratch:
        work = replace(work, scratch=scratch)
        for _, scored in _run(work, devices, cores, left, teller.rows):
            teller.unit()
            total += scored
    return total


def _run(
    work: ScoreWork,
    devices: Sequence[str],
    cores: int,
    units: Sequence[Unit],
    on_event: Callable[[Any], None],
) -> Iterator[tuple[Unit, Scored]]:
    """A worker a device where models run; else as many processes as cores and units allow.

    Here only what decodes no picture: a decoder that crashes takes its process with it.
    """
    if not units:
        return
    small = sum(unit.bytes for unit in units) < _SMALL_BYTES
    scores = choose(work.columns, work.model, work.pretrained).scores
    if any(score.uses_device for score in scores):
        if small and work.decode_in == "auto":
            work = replace(work, decode_in="threads")
        threads = max(1, cores // len(devices))
        works = [replace(work, device=device, threads=threads) for device in devices]
        yield from engine.run_each(works, units, on_event=on_event)
        return
    processes = 1 if small else min(cores, len(units))
    light = replace(work, threads=max(1, cores // processes))
    if processes == 1 and not any(score.needs_image for score in scores):
        processes = 0
    yield from engine.run(light, units, processes=processes, on_event=on_event)


class _Teller:
    """Turns what workers say into progress."""

    def __init__(self, progress: Listener, total: int, left: Sequence[Unit]) -> None:
        self._progress, self._total, self._done = progress, total, total - len(left)
        self._unit = "shards" if left and isinstance(left[0], Shard) else "parts"
        self._rows = 0
        self._started = time.monotonic()

    def rows(self, number: int) -> None:
        """A batch is done."""
        self._rows += number
        self._tell()

    def unit(self) -> None:
        """A shard or part is done."""
        self._done += 1
        self._tell()

    def _tell(self) -> None:
        rate = self._rows / max(time.monotonic() - self._started, 1e-9)
        self._progress(
            Progress(
                "score",
                self._done,
                self._total,
                self._unit,
                f"{self._rows:,} rows, {rate:,.1f}/s",
                {"rows": self._rows},
            )
        )
