"""Threads that take tasks from one line, to which more may be added while tasks wait in it."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from typing import Generic, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
_Task = tuple["Future[T] | _Awaited[T]", Callable[[], T]]


class _Awaited(Generic[T]):
    """What a loop waits for, told from a thread. As a `Future`, but for half of its cost: nobody
    else may wait for it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[T] = self._loop.create_future()

    def set_running_or_notify_cancel(self) -> bool:
        return not self.future.cancelled()

    def set_result(self, result: T) -> None:
        self._tell(self.future.set_result, result)

    def set_exception(self, error: BaseException) -> None:
        self._tell(self.future.set_exception, error)

    def cancel(self) -> None:
        self._tell(self.future.cancel)

    def _tell(self, tell: Callable[..., object], *what: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._unless_done, tell, *what)

    def _unless_done(self, tell: Callable[..., object], *what: object) -> None:
        if not self.future.done():
            tell(*what)


class GrowingPool(Executor):
    """An Executor whose threads grow in number: those added take tasks that wait already."""

    def __init__(self, threads: int, name: str) -> None:
        self._name = name
        self._tasks: queue.SimpleQueue[_Task[object] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._ended = False
        self.grow(threads)

    @property
    def threads(self) -> int:
        """How many there are."""
        return len(self._threads)

    @property
    def waiting(self) -> int:
        """Tasks that none has begun."""
        return self._tasks.qsize()

    def grow(self, threads: int) -> None:
        """Start so many threads more."""
        for _ in range(threads):
            thread = threading.Thread(target=self._work, name=f"{self._name}_{len(self._threads)}")
            self._threads.append(thread)
            thread.start()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Line a task up. Raises RuntimeError after `shutdown`."""
        if self._ended:
            raise RuntimeError("the pool has been shut down")
        future: Future[T] = Future()
        self._tasks.put((future, partial(fn, *args, **kwargs)))  # type: ignore[arg-type]
        return future

    async def run(self, call: Callable[[], T]) -> T:
        """What a call gives, or raises, in one of the threads. Raises RuntimeError as `submit`."""
        if self._ended:
            raise RuntimeError("the pool has been shut down")
        awaited = _Awaited[T]()
        self._tasks.put((awaited, call))  # type: ignore[arg-type]
        return await awaited.future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the threads, when all tasks are done or, with cancel_futures, those under way."""
        self._ended = True
        if cancel_futures:
            with contextlib.suppress(queue.Empty):
                while True:
                    if task := self._tasks.get_nowait():
                        task[0].cancel()
        for _ in self._threads:
            self._tasks.put(None)
        if wait:
            for thread in self._threads:
                thread.join()

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            _run(*task)
            del task  # nothing of it is kept while the thread waits


def _run(future: Future[object] | _Awaited[object], call: Callable[[], object]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001  whoever waits for it has to know
        future.set_exception(error)
    else:
        future.set_result(result)
