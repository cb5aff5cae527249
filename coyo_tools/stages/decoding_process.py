"""What runs in a process of `stages/decoders.py`: it makes rows ready until the worker is gone."""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
import threading
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

from coyo_tools.machinery.shared_memory import SharedMemory
from coyo_tools.machinery.watchdog import bounded
from coyo_tools.pieces.decoding import quiet
from coyo_tools.stages.score_table import Panel, Prepared, Row
from coyo_tools.words.errors import EngineError, portable

_NICE = 5  # the worker goes first, on which all of them wait, and a GPU
_GLANCE_S = 0.5  # how often it looks whether its parent is still there


def main(pipe: int, *memory: int) -> None:
    """pipe: descriptor of the end of a pipe to the worker; memory: those of shared memory."""
    os.nice(_NICE)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    with quiet():
        _serve(Connection(pipe), [SharedMemory(each) for each in memory])
    os._exit(0)  # at once: there is nothing to be kept


def _serve(pipe: Connection, memory: Sequence[SharedMemory]) -> None:
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        load = pipe.recv_bytes()
        try:
            panel: Panel = pickle.loads(load)()  # noqa: S301  from our own worker
            _one_core()
        except BaseException as error:  # noqa: BLE001  whatever it is, the worker has to hear it
            pipe.send(("error", portable(error)))
            return
        pipe.send(("started",))
        while True:
            which, sizes = pipe.recv()
            pipe.send(_answer(panel, which, memory[which], sizes))


def _answer(panel: Panel, which: int, memory: SharedMemory, sizes: Sequence[int]) -> Any:
    try:
        found = [_prepared(panel, row) for row in memory.take(sizes)]
    except BaseException as error:  # noqa: BLE001  as in `_serve`
        return "error", portable(error)
    try:
        return "found", which, memory.put((found, panel.clock.take()))
    except Exception as error:  # noqa: BLE001  pickle raises anything on what it cannot do
        said = f"what a score prepares cannot be handed from process to process: {error}"
        return "error", EngineError(said, where="--decode-in", todo="use --decode-in threads")


def _prepared(panel: Panel, row: Row) -> Prepared:
    with bounded():
        return panel.prepare(row)


def _one_core() -> None:
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


def _end_with(parent: int) -> None:
    """Also where a decoder hangs and nobody looks at the pipe."""
    while os.getppid() == parent:
        time.sleep(_GLANCE_S)
    os._exit(1)
