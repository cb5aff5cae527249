"""Worker processes: each runs a work, is handed units by the parent, and is replaced if it dies.

A worker that dies has its unfinished units given to another, twice at most. What a worker prints
goes to stderr: stdout belongs to the result.

Workers are started as `python -c`, not by re-importing the caller's script: a script or notebook
needs no `if __name__ == "__main__"`. They end when the parent does, however it ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import Any

from coyo_tools.machinery.engine import Emit
from coyo_tools.machinery.without_pandas import spare_pandas
from coyo_tools.words.errors import EngineError, portable

MAX_CRASHES = 2
_GLANCE_S = 1.0  # how often the parent looks for workers that died without closing their pipe
_STDERR = 2
_GRACE_S = 5.0  # what a worker that has said goodbye gets to end by itself
# glibc's allocator, in workers: blocks of pictures' size come from memory that was freed before. By
# default they are new pages each, which the kernel clears: 5 % of the CPU time of a download.
_ALLOCATOR = {
    "MALLOC_ARENA_MAX": str(max(2, os.cpu_count() or 2)),
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(128 << 20),
}


@dataclass(eq=False)
class _Worker:
    process: subprocess.Popen[bytes]
    pipe: Connection
    work: int  # which of the fleet's works it runs
    held: list[int] = field(default_factory=list)  # indices of units given and not finished
    started: bool = False  # has said something
    waiting: bool = False  # has asked for a unit while none was free


class Fleet:
    """The parent's side: one pipe a worker, one loop that answers them all."""

    def __init__(self, works: Sequence[Any], units: Iterable[Any], on_event: Emit) -> None:
        self._works = [pickle.dumps(work) for work in works]
        self._at_most = len(units) if isinstance(units, Sized) else None
        self._source = enumerate(units)
        self._ready: deque[int] = deque()  # units to hand out before the source's next
        self._open: dict[int, Any] = {}  # every unit taken from the source and not finished
        self._crashes: dict[int, int] = {}
        self._failed_starts = 0
        self._workers: list[_Worker] = []
        self._on_event = on_event

    def run(self, processes: int) -> Iterator[tuple[Any, Any]]:
        """Start so many workers, no more than units; yield each unit with its result."""
        wanted = processes if self._at_most is None else min(processes, self._at_most)
        for number in range(wanted):
            self._start(number % len(self._works))
        while self._workers:
            ready = wait([w.pipe for w in self._workers], timeout=_GLANCE_S)
            for worker in [w for w in self._workers if w.pipe in ready]:
                yield from self._hear(worker)
            for worker in [w for w in self._workers if _died_unheard(w)]:
                self._bury(worker)
        if self._more():
            raise EngineError("the work ended without a result for every unit")

    def stop(self) -> None:
        """End every worker, whatever it is doing."""
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.pipe.close()
            worker.process.wait()
        self._workers.clear()

    def _start(self, work: int) -> None:
        mine, theirs = Pipe()
        path = json.dumps([p or str(Path.cwd()) for p in sys.path])
        code = (
            f"import sys; sys.path[:] = {path}; "
            f"from coyo_tools.machinery.fleet import worker_main; worker_main({theirs.fileno()})"
        )
        process = subprocess.Popen(  # noqa: S603  our own interpreter, our own code
            [sys.executable, "-c", code],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=_STDERR,
            env={**_ALLOCATOR, **os.environ},
            start_new_session=True,  # Ctrl-C reaches the parent alone, which then stops them
        )
        theirs.close()
        self._workers.append(_Worker(process, mine, work))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            mine.send_bytes(self._works[work])  # where it has died already, the next recv says so

    def _hear(self, worker: _Worker) -> Iterator[tuple[Any, Any]]:
        try:
            kind, *rest = worker.pipe.recv()
        except (EOFError, OSError):  # OSError: it died in the middle of a message
            self._bury(worker)
            return
        worker.started = True
        match kind:
            case "next":
                self._give(worker)
            case "result":
                index, result = rest
                worker.held.remove(index)
                yield self._open.pop(index), result
                self._feed_waiting()
            case "event":
                self._on_event(rest[0])
            case "error":
                raise rest[0]
            case "done":
                self._let_go(worker)

    def _give(self, worker: _Worker) -> None:
        """Answer a worker that asks for a unit.

        One that holds none waits while others do: a unit may yet come back from a worker that
        dies. One that holds some is told at once that there are no more: it may be asking before
        it goes on with those it has.
        """
        index = self._ready.popleft() if self._more() else None
        worker.waiting = index is None and not worker.held and bool(self._open)
        if worker.waiting:
            return
        if index is None:
            self._send(worker, None)
            return
        worker.held.append(index)
        self._send(worker, (index, self._open[index]))

    def _send(self, worker: _Worker, message: Any) -> None:
        # Where it has died, the next recv says so and its units go to another.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            worker.pipe.send(message)

    def _more(self) -> bool:
        """Whether a unit is there to hand out; looks one unit ahead in the source."""
        if not self._ready:
            for index, unit in self._source:
                self._open[index] = unit
                self._ready.append(index)
                break
        return bool(self._ready)

    def _feed_waiting(self) -> None:
        for worker in [w for w in self._workers if w.waiting]:
            if self._ready or not self._open:
                self._give(worker)

    def _bury(self, worker: _Worker) -> None:
        """A worker died: give its units to another, or say which unit kills workers."""
        status = self._dismiss(worker)
        for index in worker.held:
            self._crashes[index] = self._crashes.get(index, 0) + 1
            if self._crashes[index] > MAX_CRASHES:
                raise EngineError(
                    f"a worker process died {self._crashes[index]} times (exit {status}) "
                    f"on {self._open[index]}",
                    todo="run the same command again, with less memory in use or fewer processes",
                )
        self._failed_starts += not worker.started
        if self._failed_starts > MAX_CRASHES:
            raise EngineError(f"worker processes die at their start (exit {status})")
        self._ready.extendleft(reversed(worker.held))
        self._feed_waiting()
        if self._more():
            self._start(worker.work)

    def _let_go(self, worker: _Worker) -> None:
        if worker.held:
            raise EngineError(f"the work ended without a result for {self._open[worker.held[0]]}")
        self._dismiss(worker)

    def _dismiss(self, worker: _Worker) -> int:
        """Forget a worker that ends; its exit status."""
        self._workers.remove(worker)
        worker.pipe.close()
        try:
            return worker.process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:  # a thread of some library keeps it
            worker.process.kill()
            return worker.process.wait()


def _died_unheard(worker: _Worker) -> bool:
    """Whether it ended although its pipe says nothing: a child of its own still holds the end."""
    return worker.process.poll() is not None and not worker.pipe.poll()


class _ParentGone(BaseException):
    """The pipe to the parent is broken: there is no one left to work for."""


def worker_main(descriptor: int) -> None:
    """The worker's side: unpickle the work, run it, end with the parent."""
    spare_pandas()
    try:
        _serve(_Link(Connection(descriptor)))
    except _ParentGone:
        os._exit(1)


def _serve(link: _Link) -> None:
    try:
        work = link.work()
        for unit, result in work(link.units(), link.emit):
            link.result(unit, result)
        link.send(("done",))
    except _ParentGone:
        raise
    except BaseException as error:  # noqa: BLE001  whatever it is, the parent has to hear it
        link.send(("error", portable(error)))


@contextlib.contextmanager
def _parent_gone() -> Iterator[None]:
    try:
        yield
    except (EOFError, BrokenPipeError, ConnectionResetError) as error:
        raise _ParentGone from error


class _Link:
    """The worker's end of the pipe. Events may come from any thread."""

    def __init__(self, pipe: Connection) -> None:
        import threading

        self._pipe = pipe
        self._lock = threading.Lock()
        self._held: list[tuple[int, Any]] = []
        threading.Thread(target=self._watch_parent, args=(os.getppid(),), daemon=True).start()

    def work(self) -> Any:
        with _parent_gone():
            data = self._pipe.recv_bytes()
        return pickle.loads(data)  # noqa: S301  from our own parent

    def units(self) -> Iterator[Any]:
        while True:
            self.send(("next",))
            with _parent_gone():
                message = self._pipe.recv()
            if message is None:
                return
            self._held.append(message)
            yield message[1]

    def result(self, unit: Any, result: Any) -> None:
        at = next((i for i, (_, u) in enumerate(self._held) if u is unit or u == unit), None)
        if at is None:
            raise LookupError(f"a result for {unit}, which this worker does not hold")
        index, _ = self._held.pop(at)
        self.send(("result", index, result))

    def emit(self, event: Any) -> None:
        self.send(("event", event))

    def send(self, message: Any) -> None:
        with self._lock, _parent_gone():
            self._pipe.send(message)

    def _watch_parent(self, parent: int) -> None:
        import time

        while os.getppid() == parent:
            time.sleep(0.2)
        os._exit(1)
