"""Rows waiting to be fetched, no more of one host at a time than it may bear.

A row whose host is busy waits here and not on a connection, so that one slow host keeps
nobody else from being fetched.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class HostQueue(Generic[Item]):
    """A bounded queue that hands out items whose host has fewer than per_host under way.

    size: items waiting before `put` waits too. Used within one event loop.
    """

    def __init__(self, size: int, per_host: int) -> None:
        self._size, self._per_host = size, per_host
        self._waiting: dict[str, deque[Item]] = {}
        self._ready: dict[str, None] = {}  # hosts with an item and a free place, in turn
        self._busy: dict[str, int] = {}
        self._count = 0
        self._closed = False
        self._takers: deque[asyncio.Future[None]] = deque()
        self._putters: deque[asyncio.Future[None]] = deque()

    async def put(self, host: str, item: Item) -> None:
        """Add an item, waiting while the queue is full."""
        while self._count >= self._size:
            await self._turn(self._putters)
        self.put_now(host, item)

    def put_now(self, host: str, item: Item) -> None:
        """Add an item that comes back, whether the queue is full or not."""
        self._waiting.setdefault(host, deque()).append(item)
        self._count += 1
        self._offer(host)

    async def take(self) -> tuple[str, Item] | None:
        """The next item with its host, which then counts as busy; None once closed."""
        while not self._ready:
            if self._closed:
                return None
            await self._turn(self._takers)
        host = next(iter(self._ready))
        del self._ready[host]
        item = self._waiting[host].popleft()
        if not self._waiting[host]:
            del self._waiting[host]
        self._count -= 1
        self._busy[host] = self._busy.get(host, 0) + 1
        self._offer(host)
        _wake(self._putters)
        return host, item

    def release(self, host: str) -> None:
        """An item of this host is done with."""
        self._busy[host] -= 1
        if not self._busy[host]:
            del self._busy[host]
        self._offer(host)

    def close(self) -> None:
        """No more items: `take` gives None once none is ready."""
        self._closed = True
        while self._takers:
            _wake(self._takers)

    def _offer(self, host: str) -> None:
        """Put the host last in turn where it has an item and a free place."""
        if host in self._waiting and self._busy.get(host, 0) < self._per_host:
            if host not in self._ready:
                self._ready[host] = None
            _wake(self._takers)

    @staticmethod
    async def _turn(line: deque[asyncio.Future[None]]) -> None:
        place = asyncio.get_running_loop().create_future()
        line.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                _wake(line)  # the turn was ours and is passed on
            raise


def _wake(line: deque[asyncio.Future[None]]) -> None:
    """Give the first in line its turn."""
    while line:
        place = line.popleft()
        if not place.done():
            place.set_result(None)
            return
