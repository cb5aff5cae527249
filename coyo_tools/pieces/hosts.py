"""Rows waiting to be fetched, in turns by host, none asked more than it may bear.

A row whose host is busy, limited or pausing waits here and not on a connection, so that one host
keeps nobody else from being fetched; hosts take turns, so that neighbours of one host in the
metadata are spread out.
"""

from __future__ import annotations

import asyncio
import functools
import math
import random
from collections import deque
from typing import Generic, TypeVar

from coyo_tools.pieces import addresses
from coyo_tools.pieces.host_limits import LONGEST_PAUSE_S, Heard, Host, Limits
from coyo_tools.pieces.pace import Pace
from coyo_tools.words.failures import Failure

Item = TypeVar("Item")
STALL_S = 1.0  # connections without work for so long want other hosts, however many rows wait
_GLANCE_S = 0.05
_REMEMBERED = 50_000  # hosts, before those of which nothing is to be known are forgotten


class HostQueue(Generic[Item]):
    """A queue that hands out items whose host may be asked now. Used within one event loop.

    size: items waiting from which on no more are wanted. deadline_s: of an answer.
    """

    def __init__(self, size: int, limits: Limits, deadline_s: float = math.inf) -> None:
        self._size, self._limits, self._pace = size, limits, Pace(deadline_s)
        self._hosts: dict[str, Host] = {}
        self._waiting: dict[str, deque[Item]] = {}
        self._ready: dict[str, None] = {}  # hosts with an item that may be asked, in turn
        self._timed: dict[str, asyncio.TimerHandle] = {}  # hosts that may be asked later
        self._count = self._sweep_at = 0
        self._closed = self._paused = False
        self._takers: deque[asyncio.Future[None]] = deque()
        self._idle_takers = 0
        self._idle_since = 0.0
        self._random = random.Random()  # noqa: S311  jitter only, never part of a result

    def put(self, host: str, item: Item) -> None:
        """Add an item."""
        self._waiting.setdefault(host, deque()).append(item)
        self._count += 1
        self._offer(host)

    async def wants_more(self) -> None:
        """Wait until few items are left, or until those that are keep no connection busy."""
        loop = asyncio.get_running_loop()
        while self._count >= self._size or self._paused:
            if not self._paused and self._idle_takers and loop.time() - self._idle_since > STALL_S:
                self._idle_since = loop.time()  # one more, and then a look at what it brought
                return
            await asyncio.sleep(_GLANCE_S)

    async def take(self) -> tuple[str, Item] | None:
        """The next item with its host, which then counts as busy; None once closed."""
        loop = asyncio.get_running_loop()
        while True:
            while self._paused or not self._ready:
                if self._closed:
                    return None
                await self._turn()
            name = next(iter(self._ready))
            del self._ready[name]
            host, now = self._host(name), loop.time()
            if host.has_room and host.free_at <= now:
                break
            self._offer(name)  # it was told to pause meanwhile
        item = self._waiting[name].popleft()
        if not self._waiting[name]:
            del self._waiting[name]
        self._count -= 1
        host.ask(now)
        self._offer(name)
        return name, item

    def release(self, name: str, heard: Heard) -> None:
        """A request to this host has ended."""
        now = asyncio.get_running_loop().time()
        host = self._hosts[name]
        host.hear(now, heard, self._random.uniform(0.5, 1.5))
        if heard.took_s is not None:
            self._pace.add(heard.took_s)
            is_slow = self._pace.is_slow(host.answer_s)
            host.slow_at = (host.slow_at or now - heard.took_s) if is_slow else None
        self._offer(name)
        if len(self._hosts) > max(_REMEMBERED, self._sweep_at):
            self._forget(now)

    def aside(self, name: str) -> Failure | None:
        """Why a host was put aside; None where it was not."""
        host = self._hosts.get(name)
        return host.aside if host else None

    def alone(self, name: str) -> Failure | None:
        """Why a host is not to be asked now, put aside or asked to wait; None where it may be."""
        host = self._hosts.get(name)
        if host is None or host.aside or self.seconds_until(name) <= 0:
            return host.aside if host else None
        return host.paused

    def slow_since(self, name: str) -> float | None:
        """Since when its answers take much longer than those of most, or are awaited for as long,
        on the loop's clock; None where neither is so."""
        host = self._hosts.get(name)
        if host is None:
            return None
        now, since = asyncio.get_running_loop().time(), math.inf
        if self._pace.is_slow(host.answer_s):
            since = now if host.slow_at is None else host.slow_at
        if host.busy and self._pace.is_slow(now - host.unheard_since):
            since = min(since, host.unheard_since)
        return since if since < math.inf else None

    def withdraw(self, name: str) -> list[Item]:
        """Take back all that waits for a host."""
        items = list(self._waiting.pop(name, ()))
        self._count -= len(items)
        self._ready.pop(name, None)
        return items

    def seconds_until(self, name: str) -> float:
        """How long the host is still to be left alone."""
        return self._host(name).not_before - asyncio.get_running_loop().time()

    def answers(self, name: str) -> int:
        """How many answers it has given."""
        return self._host(name).answers

    def earned_s(self, name: str, before: int) -> float:
        """How much longer a host that asks to wait is waited for, for its answers: so long as they
        take at its rate; of those before (so many), a pause at most."""
        host = self._host(name)
        since = host.worth_s(max(0, host.answers - before))
        return since + min(host.worth_s(before), LONGEST_PAUSE_S)

    def gone_since(self, name: str) -> float | None:
        """Since when a host that may return has answered nothing, on the loop's clock; None for
        any other."""
        host = self._host(name)
        gone = host.may_return(asyncio.get_running_loop().time())
        return host.silent_since if gone else None

    def pause(self) -> None:
        """Hand out nothing."""
        self._paused = True

    def go_on(self) -> None:
        """Hand out items again."""
        self._paused = False
        self._idle_since = asyncio.get_running_loop().time()
        for _ in self._ready:
            self._wake()

    def forgive(self, since: float) -> list[str]:
        """Forget of every host that it has been silent where it was not yet at that time; gives
        those that are thereby no longer put aside."""
        back = []
        for name, host in self._hosts.items():
            if since < host.silent_since < math.inf:
                back += [name] if host.aside else []
                host.forgive()
                self._offer(name)
        return back

    def close(self) -> None:
        """No more items: `take` gives None once none is ready."""
        self._closed = True
        while self._takers:
            self._wake()

    def _host(self, name: str) -> Host:
        host = self._hosts.get(name)
        if host is None:
            # Rows that are sent to nobody need no limit.
            connections = self._limits.connections if name else self._size
            host = self._hosts[name] = Host(connections, self._limits.rate_of(name))
        return host

    def _offer(self, name: str) -> None:
        """Put the host last in turn where it has an item and may be asked, or at that time."""
        if name not in self._waiting or name in self._ready:
            return
        host = self._host(name)
        if not host.has_room:
            return
        loop = asyncio.get_running_loop()
        if timer := self._timed.pop(name, None):
            timer.cancel()
        if host.free_at > loop.time():
            self._timed[name] = loop.call_at(host.free_at, self._is_due, name)
            return
        self._ready[name] = None
        self._wake()

    def _is_due(self, name: str) -> None:
        del self._timed[name]
        self._offer(name)

    def _forget(self, now: float) -> None:
        """Keep only hosts with something to know of, or to do; of too many, the latest."""
        busy = {n for n, h in self._hosts.items() if h.busy or n in self._waiting}
        kept = [n for n, h in self._hosts.items() if n in busy or not h.is_plain(now)]
        keep = busy | set(kept[-_REMEMBERED:])
        self._hosts = {n: h for n, h in self._hosts.items() if n in keep}
        self._sweep_at = 2 * len(self._hosts)

    async def _turn(self) -> None:
        """Wait in line for something to be ready."""
        loop = asyncio.get_running_loop()
        place = loop.create_future()
        self._takers.append(place)
        if not self._idle_takers:
            self._idle_since = loop.time()
        self._idle_takers += 1
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self._wake()  # the turn was ours and is passed on
            raise
        finally:
            self._idle_takers -= 1

    def _wake(self) -> None:
        """Give the first in line its turn."""
        while self._takers:
            place = self._takers.popleft()
            if not place.done():
                place.set_result(None)
                return


_USUAL_PORTS = {"http": "80", "https": "443"}


@functools.lru_cache(1 << 10)  # while a row is fetched it is asked for three times
def host_of(url: str | None) -> str:
    """What rows are grouped by while they wait: the url's host in one spelling, and its port where
    that is not its scheme's usual one."""
    scheme, _, after = (url or "").strip().partition("://")
    for end in "/?#":
        after = after.partition(end)[0]
    spelled = after.rpartition("@")[2]
    name, colon, port = spelled.rpartition(":")
    if not colon or (port and not port.isdigit()):
        name, port = spelled, ""
    name = addresses.in_ascii(name)
    return name if port in ("", _USUAL_PORTS.get(scheme.lower())) else f"{name}:{port}"


def without_port(host: str) -> str:
    """A host as `host_of` spells it, whatever its port: several ports are one machine."""
    name, _, port = host.rpartition(":")
    return name if name and port.isdigit() else host
