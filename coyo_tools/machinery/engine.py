"""Running work over units: in this process, or in several.

Work is a picklable object, called once in each worker as `work(units, emit)`: it takes units
from the iterator when it wants the next, so that it can load a model once or start on the next
shard before the last one is finished, and yields one `(unit, result)` for each. A worker that
dies has its unfinished units given to another, twice at most.

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
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import Any, Protocol, TypeVar

from coyo_tools.words.errors import CoyoError, EngineError

Unit = TypeVar("Unit")
Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)
Emit = Callable[[Any], None]
MAX_CRASHES = 2


class Work(Protocol[Unit, Result_co]):
    """What an engine runs. Picklable where there are several processes."""

    def __call__(self, units: Iterator[Unit], emit: Emit) -> Iterable[tuple[Unit, Result_co]]:
        """Take units, yield each with its result. emit: send an event to the parent."""
        ...


def run(
    work: Work[Unit, Result],
    units: Iterable[Unit],
    *,
    processes: int = 1,
    on_event: Emit = lambda _: None,
) -> Iterator[tuple[Unit, Result]]:
    """Yield each unit with its result, as they are finished.

    processes: 0 runs in this process. Raises what the work raised where that is a CoyoError,
    else EngineError.
    """
    if processes == 0:
        yield from work(iter(units), on_event)
        return
    fleet = _Fleet(work, units, on_event)
    try:
        yield from fleet.run(processes)
    finally:
        fleet.stop()


@dataclass(eq=False)
class _Worker:
    process: subprocess.Popen[bytes]
    pipe: Connection
    held: list[int] = field(default_factory=list)  # indices of units given and not finished
    waiting: bool = False


class _Fleet:
    """The parent's side: one pipe a worker, one loop that answers them all."""

    def __init__(self, work: Any, units: Iterable[Any], on_event: Emit) -> None:
        self._work = pickle.dumps(work)
        self._source = enumerate(units)
        self._again: deque[int] = deque()
        self._open: dict[int, Any] = {}
        self._crashes: dict[int, int] = {}
        self._workers: list[_Worker] = []
        self._on_event = on_event

    def run(self, processes: int) -> Iterator[tuple[Any, Any]]:
        for _ in range(processes):
            self._start()
        while self._workers:
            ready = wait([w.pipe for w in self._workers])
            for worker in [w for w in self._workers if w.pipe in ready]:
                yield from self._hear(worker)

    def stop(self) -> None:
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.pipe.close()
            worker.process.wait()
        self._workers.clear()

    def _start(self) -> None:
        mine, theirs = Pipe()
        path = json.dumps([p or str(Path.cwd()) for p in sys.path])
        code = (
            f"import sys; sys.path[:] = {path}; "
            f"from coyo_tools.machinery.engine import worker_main; worker_main({theirs.fileno()})"
        )
        process = subprocess.Popen(  # noqa: S603  our own interpreter, our own code
            [sys.executable, "-c", code],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C reaches the parent alone, which then stops them
        )
        theirs.close()
        mine.send_bytes(self._work)
        self._workers.append(_Worker(process, mine))

    def _hear(self, worker: _Worker) -> Iterator[tuple[Any, Any]]:
        try:
            kind, *rest = worker.pipe.recv()
        except (EOFError, ConnectionResetError):
            self._bury(worker)
            return
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
                self._dismiss(worker)

    def _give(self, worker: _Worker) -> None:
        index = self._take()
        worker.waiting = index is None and bool(self._open)
        if worker.waiting:
            return  # a unit may yet come back from a worker that dies
        if index is None:
            self._send(worker, None)
            return
        worker.held.append(index)
        self._send(worker, (index, self._open[index]))

    def _send(self, worker: _Worker, message: Any) -> None:
        # Where it has died, the next recv says so and its units go to another.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            worker.pipe.send(message)

    def _take(self) -> int | None:
        if self._again:
            return self._again.popleft()
        for index, unit in self._source:
            self._open[index] = unit
            return index
        return None

    def _feed_waiting(self) -> None:
        for worker in [w for w in self._workers if w.waiting]:
            if self._again or not self._open:
                self._give(worker)

    def _bury(self, worker: _Worker) -> None:
        """A worker died: give its units to another, or say which unit kills workers."""
        status = worker.process.wait()
        self._dismiss(worker)
        for index in worker.held:
            self._crashes[index] = self._crashes.get(index, 0) + 1
            if self._crashes[index] > MAX_CRASHES:
                raise EngineError(
                    f"a worker process died {self._crashes[index]} times (exit {status}) "
                    f"on {self._open[index]}",
                    todo="run the same command again, with less memory in use or fewer processes",
                )
        if not worker.held and status != 0 and not self._crashes:
            raise EngineError(f"a worker process died at its start (exit {status})")
        self._again.extend(worker.held)
        if self._open:
            self._start()

    def _dismiss(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        worker.pipe.close()
        worker.process.wait()


def worker_main(descriptor: int) -> None:
    """The worker's side: unpickle the work, run it, end with the parent."""
    pipe = Connection(descriptor)
    link = _Link(pipe)
    try:
        work = pickle.loads(pipe.recv_bytes())  # noqa: S301  from our own parent
        for unit, result in work(link.units(), link.emit):
            link.result(unit, result)
        link.send(("done",))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        os._exit(1)  # the parent is gone: nothing to tell, and no one to tell it to
    except BaseException as error:  # noqa: BLE001  whatever it is, the parent has to hear it
        link.send(("error", _portable(error)))


def _portable(error: BaseException) -> CoyoError:
    if isinstance(error, CoyoError):
        return error
    wrapped = EngineError(f"a worker failed: {type(error).__name__}: {error}")
    wrapped.details = traceback.format_exc()
    return wrapped


class _Link:
    """The worker's end of the pipe. Events may come from any thread."""

    def __init__(self, pipe: Connection) -> None:
        import threading

        self._pipe = pipe
        self._lock = threading.Lock()
        self._held: list[tuple[int, Any]] = []
        threading.Thread(target=self._watch_parent, args=(os.getppid(),), daemon=True).start()

    def units(self) -> Iterator[Any]:
        while True:
            self.send(("next",))
            message = self._pipe.recv()
            if message is None:
                return
            self._held.append(message)
            yield message[1]

    def result(self, unit: Any, result: Any) -> None:
        at = next(i for i, (_, held) in enumerate(self._held) if held is unit or held == unit)
        index, _ = self._held.pop(at)
        self.send(("result", index, result))

    def emit(self, event: Any) -> None:
        self.send(("event", event))

    def send(self, message: Any) -> None:
        with self._lock:
            self._pipe.send(message)

    def _watch_parent(self, parent: int) -> None:
        import time

        while os.getppid() == parent:
            time.sleep(0.2)
        os._exit(1)
