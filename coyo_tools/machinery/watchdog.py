"""Ends a worker in which a call does not end: a decoder may loop for ever, and nothing else would
stop it.

Its work goes to another worker, as after a crash (`machinery/fleet.py`). Time is counted in ticks,
so none goes by while the process is stopped or the machine sleeps. A call that never lets go of
Python's lock is not noticed; decoders let go of it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

LONGEST_S = 120.0  # the largest pictures take seconds
_STATUS = 124  # that such a process ends with
_TICK_S = 0.5


class _Watchdog:
    def __init__(self) -> None:
        self._ticks = 0
        self._begun: dict[object, tuple[int, float]] = {}  # by call its first tick and its patience
        self._lock = threading.Lock()
        self._watches = False

    @contextmanager
    def bounded(self, patience: float) -> Iterator[None]:
        if not self._watches:
            self._begin()
        call = object()
        self._begun[call] = self._ticks, patience
        try:
            yield
        finally:
            del self._begun[call]

    def _begin(self) -> None:
        with self._lock:
            if not self._watches:
                threading.Thread(target=self._watch, name="watchdog", daemon=True).start()
                self._watches = True

    def _watch(self) -> None:
        while True:
            time.sleep(_TICK_S)
            self._ticks += 1
            longest = LONGEST_S / _TICK_S
            if any(self._ticks - t > p * longest for t, p in tuple(self._begun.values())):
                os._exit(_STATUS)


_WATCHDOG = _Watchdog()


def bounded(patience: float = 1.0) -> AbstractContextManager[None]:
    """A call that takes longer than so many times LONGEST_S ends the process: a worker's, and no
    caller's of the API."""
    return _WATCHDOG.bounded(patience)


def how_it_ended(status: int | None) -> str:
    """The exit status of a process that decoded, in words."""
    return "does not end" if status == _STATUS else f"exit {status}"
