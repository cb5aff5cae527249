"""Panels for the tests of decoding processes, in a module that these can import."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from coyo_tools.pieces.scores.base import IMAGE, Sample, Score, ScoreColumn
from coyo_tools.pieces.scores.lanes import Lane
from coyo_tools.stages.batch_size import BatchSizes
from coyo_tools.stages.decoders import Decoders
from coyo_tools.stages.score_table import Panel, Row
from coyo_tools.words.failures import Failure
from tests.tars import picture


class Whole:
    """Every pixel, and the caption; does what the caption says."""

    def prepare(self, sample: Sample) -> Any:
        import numpy as np

        word, _, rest = (sample.caption or "").partition(" ")
        match word:
            case "raise":
                raise LookupError(rest)
            case "unpicklable":
                return threading.Lock()
            case "failure":
                return Failure("too_many_pixels", rest)
            case "die":
                os.kill(os.getpid(), int(rest))
            case "die-once":
                died = Path(rest)
                if not died.exists():
                    died.touch()
                    os.kill(os.getpid(), signal.SIGKILL)
            case "sleep":
                time.sleep(float(rest))
        if sample.caption is None:
            return None
        return np.asarray(sample.image), sample.caption

    def score(self, prepared: Sequence[Any]) -> Sequence[Any]:
        raise AssertionError("only prepares")


def whole() -> Panel:
    column = ScoreColumn("pixels", "int32", "a test")
    declared = Score("pixels", (column,), (IMAGE,), "", "", lambda _: Whole())
    return Panel([Lane((declared,), Whole())], ("pixels",), BatchSizes(8))


def fails_to_load() -> Panel:
    raise LookupError("no such panel")


def dies_at_start() -> Panel:
    os._exit(3)


def rows(captions: Sequence[str | None], size: tuple[int, int] = (64, 48)) -> list[Row]:
    return [Row(str(n), n, caption, picture(n, size=size)) for n, caption in enumerate(captions)]


def decode_slowly() -> None:
    """A worker whose processes are busy; prints their pids. Never ends by itself."""
    panel = whole()
    with Decoders(whole, 2) as decoders:
        found = decoders.in_order(panel, rows(["a", *["sleep 600"] * 40]), 8)
        threading.Thread(target=lambda: list(found), daemon=True).start()
        time.sleep(0.2)
        print(*(each.process.pid for each in decoders._running), flush=True)
        sys.stdin.read()
