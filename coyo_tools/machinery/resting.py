"""An event loop that lets events gather while there is no hurry.

Each event by itself wakes the loop's thread, which takes Python's lock from the threads that work
and finds the core's caches full of what they worked on. Where they have enough to do, nothing is
lost by hearing of several events at once.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any


class RestingSelector(selectors.DefaultSelector):
    """rest_s: asked before every wait for how long events may gather, s; 0 hears of each at once.
    No timer is late by it."""

    def __init__(self) -> None:
        super().__init__()
        self.rest_s: Callable[[], float] = lambda: 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """As of any selector. timeout: s; None waits for ever."""
        if timeout is None:
            if rest_s := self.rest_s():
                time.sleep(rest_s)
        elif timeout > 0 and (rest_s := min(self.rest_s(), timeout)):
            time.sleep(rest_s)
            timeout -= rest_s
        return super().select(timeout)


def run(main: Coroutine[Any, Any, None], selector: RestingSelector) -> None:
    """As `asyncio.run`, with this selector."""
    factory = partial(asyncio.SelectorEventLoop, selector)
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main)
