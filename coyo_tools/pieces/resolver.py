"""DNS within the process, by c-ares: no thread waits for a name server.

What resolves is remembered as long as its record says, within bounds, and so is a name that does
not exist. Only a name server's word for that is final: one that is silent, refuses or fails
(SERVFAIL) is asked again, and gets fewer questions at once where most of them fail. A silent one is
asked until the patience is over: it may have to look for the name itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from itertools import count

import aiodns
import pycares
from aiodns import error as codes
from aiohttp.abc import AbstractResolver, ResolveResult

from coyo_tools.pieces import addresses

AT_ONCE = 64  # questions under way at first and, where name servers keep up, up to four times that
ROUNDS = 2  # of asking every name server, each twice; more where they are silent
_SHORTEST_TTL_S, _LONGEST_TTL_S = 60.0, 3600.0
_UNKNOWN_S = 600.0  # how long a name that does not exist is not asked for again
_SILENT_S = 5.0  # the same, where name servers gave no answer
_LONGEST_PAUSE = 4  # between two rounds, to the first one
_REMEMBERED = 100_000
# Name servers do not keep up where of so many questions more than three in four fail.
_FEWEST, _MOST_FAIL = 16, 3
_FINAL = frozenset(
    (codes.ARES_ENOTFOUND, codes.ARES_ENODATA, codes.ARES_ENONAME, codes.ARES_EBADNAME)
)
_NEVER = (".invalid", ".onion")  # RFC 6761, RFC 7686: no name server is to be asked


class NoSuchHost(OSError):
    """The name does not exist or has no address, by a name server's word."""


class NoAnswer(OSError):
    """No name server gave an answer."""


@dataclass(frozen=True)
class _Known:
    """What is known of a host. addresses: family and address; until: on the monotonic clock."""

    addresses: tuple[tuple[int, str], ...]
    until: float
    error: type[OSError] | None = None


class Resolver(AbstractResolver):
    """Looks up hosts; use within one event loop.

    name_servers: `ADDRESS` or `ADDRESS:PORT`, asked in turn; none for the system's, in their
    order. patience_s: how long a caller waits; the lookup then goes on for the next one.
    Search domains are not tried: urls name their hosts in full.
    """

    def __init__(self, name_servers: Sequence[str] = (), patience_s: float = 10.0) -> None:
        self._patience_s = patience_s
        self._channel = aiodns.DNSResolver(
            nameservers=list(name_servers) or None,
            rotate=len(name_servers) > 1,
            timeout=min(2.0, patience_s / 8),  # and twice that for a second try
            tries=2,
            flags=pycares.ARES_FLAG_NOSEARCH | pycares.ARES_FLAG_EDNS,
        )
        self._family = socket.AF_UNSPEC if _has_ipv6() else socket.AF_INET
        self._gate = Gate(AT_ONCE)
        self._known: dict[str, _Known] = {}
        self._asking: dict[str, asyncio.Task[_Known]] = {}
        self._turn = self._forgotten = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Every address of a host, another one first each time. Raises NoSuchHost, NoAnswer."""
        known = self._known.get(host)
        if known is None or known.until <= time.monotonic():
            known = await self._wait_for(host)
        found = [each for each in known.addresses if family in (socket.AF_UNSPEC, each[0])]
        if known.error or not found:
            raise (known.error or NoSuchHost)(None, "host name does not resolve")
        self._turn += 1
        first = self._turn % len(found)
        return [_result(host, port, *each) for each in found[first:] + found[:first]]

    async def _wait_for(self, host: str) -> _Known:
        if host not in self._asking:
            task = self._asking[host] = asyncio.create_task(self._find(host))
            task.add_done_callback(lambda _: self._asking.pop(host, None))
        try:
            async with asyncio.timeout(self._patience_s):
                return await asyncio.shield(self._asking[host])
        except TimeoutError:
            raise NoAnswer(None, "name servers gave no answer") from None

    def known(self, host: str) -> list[str]:
        """A host's addresses as far as they are known without asking, however old."""
        spelled = addresses.literal(host)
        if spelled is not None:
            return [spelled]
        found = self._known.get(host)
        return [address for _, address in found.addresses] if found else []

    async def has_word_of(self, name: str) -> bool:
        """Whether a name server knows a name, or knows that there is none such."""
        until = time.monotonic() + self._patience_s
        while True:
            try:
                await self._channel.getaddrinfo(
                    name, family=socket.AF_INET, type=socket.SOCK_STREAM
                )
            except aiodns.error.DNSError as error:
                if not _is_silence(error) or time.monotonic() >= until:
                    return error.args[0] in _FINAL
            else:
                return True

    def forget_silence(self) -> None:
        """Name servers that gave no answer may give one now."""
        self._forgotten += 1
        self._gate.forget(time.monotonic())
        self._known = {h: each for h, each in self._known.items() if each.error is not NoAnswer}

    async def _find(self, host: str) -> _Known:
        forgotten = self._forgotten
        known = await self._look_up(host)
        if known.error is NoAnswer and forgotten != self._forgotten:
            return known  # which is told to those that asked, and not to others
        old = self._known.pop(host, None)
        if known.error is NoAnswer and old is not None and old.addresses:
            known = _Known(old.addresses, known.until)  # better a stale one than none (RFC 8767)
        while len(self._known) >= _REMEMBERED:
            del self._known[next(iter(self._known))]
        self._known[host] = known
        return known

    async def _look_up(self, host: str) -> _Known:
        if host.rstrip(".").endswith(_NEVER):
            return _Known((), time.monotonic() + _UNKNOWN_S, NoSuchHost)
        asked_until = 0.0
        for number in count():
            if number:
                pause_s = random.uniform(0.1, 0.5)  # noqa: S311  not one wave again
                await asyncio.sleep(pause_s * min(_LONGEST_PAUSE, 2 ** (number - 1)))
            async with self._gate.passage():
                let_in_s = time.monotonic()
                found = await self._ask(host)
                now_s = time.monotonic()
            well = not isinstance(found, aiodns.error.DNSError)
            if number == 0:  # a name without an answer is asked for again and again
                self._gate.tell(well=well, let_in_s=let_in_s, now_s=now_s)
            if isinstance(found, _Known):
                return found
            asked_until = asked_until or let_in_s + self._patience_s
            waits = _is_silence(found) and now_s < asked_until
            if number + 1 >= ROUNDS and not waits:
                break
        return _Known((), time.monotonic() + _SILENT_S, NoAnswer)

    async def _ask(self, host: str) -> _Known | aiodns.error.DNSError:
        """What name servers say, or why there is no word of theirs."""
        families = [self._family]
        if self._family == socket.AF_UNSPEC:
            # That there is no address c-ares says of both families where it is so of one and the
            # other's question got no answer: then each is asked about by itself.
            families += [socket.AF_INET, socket.AF_INET6]
        for family in families:
            try:
                answer = await self._channel.getaddrinfo(
                    host, family=family, type=socket.SOCK_STREAM
                )
            except aiodns.error.DNSError as error:
                if error.args[0] not in _FINAL:
                    return error
                if error.args[0] != codes.ARES_ENODATA:
                    break
            else:
                return _from(answer)
        return _Known((), time.monotonic() + _UNKNOWN_S, NoSuchHost)

    async def close(self) -> None:
        """Give up what is still asked for."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._channel.close()


def _is_silence(error: aiodns.error.DNSError) -> bool:
    """No answer in time. Where others have come soon, c-ares calls a second's wait so."""
    return bool(error.args[0] == codes.ARES_ETIMEOUT)


def _from(answer: pycares.AddrInfoResult) -> _Known:
    ttl = min((node.ttl for node in answer.nodes), default=0)
    # A name server's address may be bytes; a scope or flow of IPv6 is never needed here.
    found = tuple(
        (node.family, host.decode() if isinstance(host := node.addr[0], bytes) else host)
        for node in answer.nodes
    )
    until = time.monotonic() + min(max(ttl, _SHORTEST_TTL_S), _LONGEST_TTL_S)
    return _Known(found, until, None if found else NoSuchHost)


def _result(host: str, port: int, family: int, address: str) -> ResolveResult:
    return ResolveResult(
        hostname=host,
        host=address,
        port=port,
        family=family,
        proto=socket.IPPROTO_TCP,
        flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
    )


def _has_ipv6() -> bool:
    """Whether the machine has a way to the IPv6 internet; nothing is sent. Without one, asking
    for IPv6 addresses would only double the questions."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.connect(("2001:db8::1", 53))
    except OSError:
        return False
    return True


class Gate:
    """How many may pass at once: halved where most of what is asked fails, for then those asked do
    not keep up. Of old urls one name in five fails by itself, which says nothing of the others.

    Additive increase, multiplicative decrease and slow start, as TCP does (RFC 5681, 3.1).
    """

    def __init__(self, width: int, narrowest: int = 4, widest: int | None = None) -> None:
        self._first_width, self._narrowest, self._widest = width, narrowest, widest or 4 * width
        self._inside = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.forget(float("-inf"))

    def forget(self, now_s: float) -> None:
        """Be as wide as at first: what was learnt holds no more, nor how those let in go on."""
        self._width = float(self._first_width)
        self._known_to_bear = float("inf")  # beyond it the gate widens slowly
        self._narrowed_s = now_s
        self._went_well = self._failed = 0  # since the gate was last judged
        self._let_in()

    @property
    def width(self) -> int:
        """How many may be inside now."""
        return int(self._width)

    @contextlib.asynccontextmanager
    async def passage(self) -> AsyncIterator[None]:
        """Wait for one's turn, and be inside for the block."""
        while self._inside >= self.width:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._let_in()
                raise
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1
            self._let_in()

    def tell(self, *, well: bool, let_in_s: float, now_s: float) -> None:
        """How it went with one that passed. Those let in before the gate was last narrowed, or
        was to forget, fail for what was known then, and do not count. Times are of one clock."""
        if well:
            self._went_well += 1
            step = 1.0 if self._width < self._known_to_bear else 1 / self._width
            self._width = min(self._widest, self._width + step)
        elif let_in_s >= self._narrowed_s:
            self._failed += 1
        if self._went_well + self._failed >= max(_FEWEST, self.width):
            if self._failed > _MOST_FAIL * self._went_well:
                self._width = self._known_to_bear = max(self._narrowest, self._width / 2)
                self._narrowed_s = now_s
            self._went_well = self._failed = 0

    def _let_in(self) -> None:
        room = self.width - self._inside
        while room > 0 and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                room -= 1
