"""Pictures of one `score` worker made ready by processes: for a GPU that threads do not keep busy.

Threads of one process share Python's lock, which decoding holds a sixth of the time. The processes
load the scores without their models; the worker reads the shard, hands rows over and takes what
came of them through shared memory. See docs/decisions/0014-decoding-processes.md.

They (`stages/decoding_process.py`) end with the worker, however it ends. One that dies, or whose
decoder does not end (`machinery/watchdog.py`), is replaced: its rows go to another one by one, and
the row on which that dies too is `decoder_crashed`.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import selectors
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, TypeVar

from coyo_tools.machinery import open_files
from coyo_tools.machinery.shared_memory import SharedMemory
from coyo_tools.machinery.watchdog import how_it_ended
from coyo_tools.stages.score_table import Panel, Prepared, Row
from coyo_tools.words.errors import EngineError
from coyo_tools.words.failures import Failure

Mark = TypeVar("Mark")
ROWS = 8  # that are handed over together,
_BYTES = 4 << 20  # unless their pictures come to more
_EACH = 2  # lots of rows that a process has: one in work, one that waits
_LENT = 10  # more whose pictures a process keeps, until they are in a batch that is scored,
_LENT_IN_ALL = 200  # and of all processes: each is an open file
_FAILED_STARTS = 2  # of which the next one ends the run
_STDERR = 2
_CHILD = "coyo_tools.stages.decoding_process"
# One thread a process, whatever library it is of; and none of them has a use for a GPU.
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENCV_FOR_THREADS_NUM": "1",
    "CUDA_VISIBLE_DEVICES": "",
}


@dataclass(eq=False)
class _Lot(Generic[Mark]):
    """Rows that stay together. careful: to be handed over one by one. marks: that stand before."""

    rows: Sequence[Row]
    marks: Sequence[Mark] = ()
    found: list[Prepared] = field(default_factory=list)
    careful: bool = False

    @property
    def done(self) -> bool:
        return len(self.found) == len(self.rows)

    @property
    def next_rows(self) -> Sequence[Row]:
        start = len(self.found)
        return self.rows[start : start + 1] if self.careful else self.rows


@dataclass(eq=False)
class _Process:
    process: subprocess.Popen[bytes]
    pipe: Connection
    memory: Sequence[SharedMemory]
    free: list[int] = field(default_factory=list)  # which memory
    held: deque[_Lot[Any]] = field(default_factory=deque)  # in the order in which it works
    started: bool = False


class Decoders:
    """The worker's side; a context. load: picklable, gives each process its panel."""

    def __init__(self, load: Callable[[], Panel], processes: int) -> None:
        self._load = pickle.dumps(load)
        self.processes = processes
        self._memories = _EACH + min(_LENT, _LENT_IN_ALL // processes)
        self._selector = selectors.DefaultSelector()
        self._running: list[_Process] = []
        self._waiting: deque[_Lot[Any]] = deque()
        self._failed_starts = 0

    def __enter__(self) -> Decoders:
        files = 2 + self._memories  # and its pipe, while it starts both ends
        open_files.allow(open_files.BESIDE + files * self.processes)
        try:
            for _ in range(self.processes):
                self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        for each in self._running:
            each.process.kill()
        for each in list(self._running):
            self._forget(each)
        self._selector.close()

    def in_order(
        self, panel: Panel, rows: Iterable[Row | Mark], ahead: int
    ) -> Iterator[Prepared | Mark]:
        """What `panel.prepare` gives of each row, in order; what is no row is given back as it is.

        ahead: rows that may be ready beyond those that the processes have in hand. Raises what it
        raises, and EngineError where processes are killed or do not start.
        """
        lots: deque[_Lot[Mark]] = deque()
        ahead += ROWS * _EACH * self.processes
        in_hand = 0
        for lot in _lots(rows):
            lots.append(lot)
            in_hand += len(lot.rows)
            if lot.rows:
                self._waiting.append(lot)
                self._give()
            self._hear(panel, wait=False)
            while lots and (lots[0].done or self._waiting or in_hand > ahead):
                if lots[0].done:
                    in_hand -= len(lots[0].rows)
                    yield from lots[0].marks
                    yield from lots.popleft().found
                else:
                    self._hear(panel, wait=True)
        while lots:
            while not lots[0].done:
                self._hear(panel, wait=True)
            yield from lots[0].marks
            yield from lots.popleft().found

    def _hear(self, panel: Panel, *, wait: bool) -> None:
        """Take what is done, and hand over what waits."""
        for key, _ in self._selector.select(None if wait else 0):
            each: _Process = key.data
            try:
                kind, *rest = each.pipe.recv()
            except (EOFError, OSError):  # OSError: it died in the middle of a message
                self._bury(each, panel)
                continue
            if kind == "error":
                raise rest[0]
            each.started = True
            if kind == "found":
                self._take(each, panel, *rest)
        self._give()

    def _take(self, each: _Process, panel: Panel, which: int, sizes: Sequence[int]) -> None:
        # As many as it works with are never lent: what waits for them may be what would free them.
        spare = len(each.free) + len(each.held) > _EACH
        back = partial(each.free.append, which)
        found, seconds = each.memory[which].take(sizes, back if spare else None)
        if not spare:
            back()
        panel.clock.add(seconds)
        lot = each.held.popleft()
        lot.found += found
        if not lot.done:
            self._waiting.appendleft(lot)

    def _give(self) -> None:
        """Hand over what waits, as far as there are hands."""
        while self._waiting:
            each = min(self._running, key=lambda each: len(each.held))
            if len(each.held) == _EACH:
                return
            lot, which = self._waiting.popleft(), each.free.pop()
            each.held.append(lot)
            # Where it has died, the next recv says so.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                each.pipe.send((which, each.memory[which].put(lot.next_rows)))

    def _bury(self, each: _Process, panel: Panel) -> None:
        """It died, on the first of the lots that it held: these go to others."""
        status = self._forget(each)
        if each.started and each.held:
            self._suspect(each.held[0], status, panel)
        self._failed_starts += not each.started
        if self._failed_starts > _FAILED_STARTS:
            raise EngineError(f"processes that decode die at their start (exit {status})")
        self._waiting.extendleft(reversed([lot for lot in each.held if not lot.done]))
        self._start()

    def _suspect(self, lot: _Lot[Any], status: int, panel: Panel) -> None:
        if not lot.careful:
            lot.careful = True
            return
        (row,) = lot.next_rows
        if status == -signal.SIGKILL:  # no decoder's doing
            raise EngineError(
                f"a process that decodes was killed twice, at {row.key}",
                todo="run the same command again, with less memory in use or fewer --workers",
            )
        crashed = Failure("decoder_crashed", how_it_ended(status))
        lot.found.append(panel.failed(row, crashed))

    def _start(self) -> None:
        mine, theirs = Pipe()
        memory = [SharedMemory() for _ in range(self._memories)]
        given = [theirs.fileno(), *(each.descriptor for each in memory)]
        path = json.dumps([p or str(Path.cwd()) for p in sys.path])
        code = f"import sys; sys.path[:] = {path}; from {_CHILD} import main; main(*{given})"
        process = subprocess.Popen(  # noqa: S603  our own interpreter, our own code
            [sys.executable, "-c", code],
            pass_fds=given,
            stdin=subprocess.DEVNULL,
            stdout=_STDERR,
            env={**os.environ, **_ENVIRONMENT},
            start_new_session=True,  # Ctrl-C reaches the worker's parent alone
        )
        theirs.close()
        self._running.append(_Process(process, mine, memory, list(range(len(memory)))))
        self._selector.register(mine, selectors.EVENT_READ, self._running[-1])
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            mine.send_bytes(self._load)

    def _forget(self, each: _Process) -> int:
        """Its exit status."""
        self._running.remove(each)
        self._selector.unregister(each.pipe)
        each.pipe.close()
        for memory in each.memory:
            memory.close()
        return each.process.wait()


def _lots(items: Iterable[Row | Mark]) -> Iterator[_Lot[Mark]]:
    marks: list[Mark] = []
    rows: list[Row] = []
    size = 0
    for item in items:
        if isinstance(item, Row):
            rows.append(item)
            size += len(item.picture or b"")
        if rows and (len(rows) == ROWS or size >= _BYTES or not isinstance(item, Row)):
            yield _Lot(rows, marks)
            marks, rows, size = [], [], 0
        if not isinstance(item, Row):
            marks.append(item)
    if rows or marks:
        yield _Lot(rows, marks)
