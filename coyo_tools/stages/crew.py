"""The threads of one `score` worker: as many as it has cores, each doing one thing at a time.

On a CPU a batch of the model is a task like the decoding of a picture, and runs on one core: so
every core works all the time, none waits for another, and a batch gives the same bits however
many cores there are. Beside a GPU its batches have two threads of their own: one waits for the
device while the other makes the next batch ready; what runs on the CPU even so stays there.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
_AT_DEVICE = 2  # batches under way at a GPU


class _Line:
    """Where batches wait for threads, so many at most, those that run included."""

    def __init__(self, pool: ThreadPoolExecutor, places: int) -> None:
        self._pool, self._free = pool, threading.BoundedSemaphore(places)

    def give(self, work: Callable[..., Result], *arguments: Any) -> Future[Result]:
        self._free.acquire()
        try:
            future = self._pool.submit(work, *arguments)
        except BaseException:
            self._free.release()
            raise
        future.add_done_callback(lambda _: self._free.release())
        return future


class Crew:
    """Threads that decode and run batches; a context. device: where models run, None: no model."""

    def __init__(self, threads: int, device: str | None) -> None:
        self.threads = threads
        start = _one_core if device == "cpu" else None
        self._pool = ThreadPoolExecutor(threads, "score", start)
        self._at_device: ThreadPoolExecutor | None = None
        if device not in (None, "cpu"):
            ready = partial(_own_stream, device)
            self._at_device = ThreadPoolExecutor(_AT_DEVICE, "model", ready)
        # As many again may wait as run: a core that ends its batch finds the next.
        self._cores = _Line(self._pool, 2 * threads)
        self._device = _Line(self._at_device, 2 * _AT_DEVICE) if self._at_device else self._cores

    def __enter__(self) -> Crew:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        for pool in (self._at_device, self._pool):
            if pool is not None:
                pool.shutdown(cancel_futures=True)

    def give(self, work: Callable[..., Result], *arguments: Any) -> Future[Result]:
        """Have a batch run; waits while as many wait as run."""
        return self._device.give(work, *arguments)

    def give_to_cores(self, work: Callable[..., Result], *arguments: Any) -> Future[Result]:
        """The same of a batch that runs on the CPU, also beside a GPU."""
        return self._cores.give(work, *arguments)

    def in_order(
        self, function: Callable[[Item], Result], items: Iterable[Item], ahead: int
    ) -> Iterator[Result]:
        """`map` in threads, results in order, at most `ahead` items in hand at any time."""
        pending: deque[Future[Result]] = deque()
        try:
            for item in items:
                pending.append(self._pool.submit(function, item))
                if len(pending) >= ahead:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def _one_core() -> None:
    """What torch computes in this thread, it computes in it alone."""
    import torch

    torch.set_num_threads(1)


def _own_stream(device: str) -> None:
    """What this thread asks of the GPU does not wait for what the other one has asked."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return
    torch.cuda.set_device(device)
    torch.cuda.synchronize(device)  # the models are there
    torch.cuda.set_stream(torch.cuda.Stream(device))
