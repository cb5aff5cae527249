"""Fetching one url: bytes, or the class of failure. The server is taken to be hostile.

One session a process: one TLS context, one DNS cache, connections kept alive. Redirects are
followed here, so that every hop is checked; the address check is made on the socket itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import time
import zlib
from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any, Self
from weakref import WeakSet

import aiohttp
from aiohttp.connector import Connection
from yarl import URL

from coyo_tools.pieces import addresses, robots
from coyo_tools.pieces.asking_around import Asked, ask_around
from coyo_tools.pieces.blocklist import BlockList
from coyo_tools.pieces.fetch_body import read_body
from coyo_tools.pieces.fetch_errors import classify
from coyo_tools.pieces.hosts import host_of
from coyo_tools.pieces.resolver import Resolver
from coyo_tools.words.config import DownloadSettings
from coyo_tools.words.failures import Failure, error_of_status

_PAGE = "https://github.com/coyo-tools/coyo-tools"
AGENT = "coyo-tools"  # the product token that robots.txt and X-Robots-Tag may name
MAX_REDIRECTS = 10
LONGEST_RETRY_AFTER_S = 86_400.0
_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_SUCCESS = frozenset((200, 203))
# Of a robots.txt that could not be had, or not whole (RFC 9309, 2.3.1.4).
_UNREACHED = frozenset(
    ("dns", "no_such_host", "connect", "tls", "timeout", "truncated", "protocol")
)
_DRAIN_BYTES = 1 << 16  # an error page up to this size is read, to keep the connection
_DRAIN_S = 0.5
_ROBOTS_BYTES = 500 * 1024  # RFC 9309, 2.5
_KEEPALIVE_S = 15.0


@dataclass(frozen=True)
class Fetched:
    """The body of a successful answer, content encoding undone."""

    data: bytes


@dataclass(frozen=True)
class Refused:
    """No body. retry_after_s: what the server asked to wait, bounded; 0 where it asked to (429,
    503) without saying how long. reached: the host of the url answered, be it with a redirect.
    hurried: most of the deadline had gone to hosts that redirected here, so it ended too early to
    say anything of this one."""

    failure: Failure
    retry_after_s: float | None = None
    reached: bool = False
    hurried: bool = False


@dataclass(frozen=True)
class Moved:
    """A redirect to another host, which is to be asked in its turn. hops: redirects so far.
    spent_s: of the deadline."""

    url: str
    hops: int
    spent_s: float


def user_agent(settings: DownloadSettings) -> str:
    """What is sent as User-Agent: who asks, and where to complain."""
    from importlib.metadata import version

    contact = settings.contact or (None if settings.user_agent else _PAGE)
    name = settings.user_agent or f"{AGENT}/{version('coyo-tools')}"
    return f"{name} (+{contact})" if contact else name


def parse_url(url: str | None) -> URL | Failure:
    """An absolute http or https url with a host, or `bad_url`."""
    if not url:
        return Failure("bad_url", "no url")
    try:
        parsed = URL(url.strip())
        host = parsed.host  # yarl decodes it on demand
        sound = parsed.port is None or 0 < parsed.port < 65536
    except (ValueError, UnicodeError):
        return Failure("bad_url", "cannot be parsed")
    if parsed.scheme not in ("http", "https"):
        return Failure("bad_url", f"scheme {parsed.scheme[:20]!r}" if parsed.scheme else "relative")
    if host and any(c <= " " or c == "\x7f" for c in host):
        return Failure("bad_url", "control characters or spaces in the host")
    if not host or not sound:
        return Failure("bad_url", "no host" if not host else "impossible port")
    return parsed


@dataclass
class Fetcher:
    """Fetches urls over one session; use as an async context manager."""

    settings: DownloadSettings
    blocked: BlockList = field(default_factory=BlockList)
    resolver: Resolver | None = None

    async def __aenter__(self) -> Self:
        limit_s = self.settings.timeout_s
        # A little less than the deadline, so that silent name servers are told as such.
        self._resolver = self.resolver or Resolver(self.settings.name_servers, 0.9 * limit_s)
        self._session = self._new_session()
        self._renewed = 0
        self._robots = robots.Cache(self._fetch_robots)
        self._agents = robots.agents_in(user_agent(self.settings)) | {AGENT}
        return self

    def _new_session(self) -> aiohttp.ClientSession:
        guarded = not self.settings.allow_private_addresses
        connector = _Connector(
            limit=self.settings.connections,
            limit_per_host=self.settings.per_host,
            use_dns_cache=False,  # the resolver has one, by the records' own times
            keepalive_timeout=_KEEPALIVE_S,
            resolver=self._resolver,
            socket_factory=addresses.guarded_socket if guarded else None,
        )
        return aiohttp.ClientSession(
            connector=connector,
            auto_decompress=False,  # done here, with a limit
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={
                "User-Agent": user_agent(self.settings),
                "Accept": "*/*",  # naming formats makes some servers convert the picture
                "Accept-Encoding": "identity",
            },
            timeout=aiohttp.ClientTimeout(total=None),  # the deadline is set in `fetch`
        )

    async def __aexit__(self, *_: object) -> None:
        await self._robots.close()
        await self._session.close()
        await self._resolver.close()

    def forget_trouble(self) -> None:
        """After an outage: name servers and robots.txt that could not be had are asked again."""
        self._renewed += 1
        self._resolver.forget_silence()
        self._robots.forget(Refused)

    async def renew(self) -> None:
        """After an outage: forget trouble, and close all connections, of which the other ends may
        know nothing any more. Tries under way fail."""
        self.forget_trouble()
        old, self._session = self._session, self._new_session()
        await old.close()

    async def ask_around(self, witnesses: Sequence[str], hosts: Iterable[str]) -> Asked:
        """Whether anybody can be reached, see `pieces.asking_around`."""
        guarded = not self.settings.allow_private_addresses
        return await ask_around(self._resolver, witnesses, hosts, guarded=guarded)

    async def fetch(self, url: str | None) -> Fetched | Refused:
        """One try, redirects and body included, within the deadline."""
        answer = await self.fetch_here(url)
        while isinstance(answer, Moved):
            answer = await self.fetch_here(url, answer)
        return answer

    async def fetch_here(
        self, url: str | None, moved: Moved | None = None
    ) -> Fetched | Refused | Moved:
        """As `fetch`, as far as one host goes. moved: where a redirect led before."""
        target = parse_url(moved.url if moved else url)
        if isinstance(target, Failure):
            return Refused(target)
        trail = _Trail(moved.hops, moved.spent_s) if moved else _Trail()
        return await self._within_deadline(target, trail)

    async def _within_deadline(self, target: URL, trail: _Trail) -> Fetched | Refused | Moved:
        limit, began = self.settings.timeout_s, time.monotonic()
        try:
            async with asyncio.timeout(limit - trail.spent_s):
                answer = await self._follow(target, trail)
        except TimeoutError:
            failure = Failure("timeout", f"no complete answer within {limit:g} s")
            answer = Refused(failure, hurried=trail.spent_s > limit / 2)
        except (aiohttp.ClientError, OSError, ValueError, zlib.error) as error:
            answer = Refused(classify(error))
        if isinstance(answer, URL):
            spent_s = trail.spent_s + time.monotonic() - began
            return Moved(str(answer), trail.hops, spent_s)
        if isinstance(answer, Refused) and trail.reached:
            return replace(answer, reached=True)
        return answer

    async def _follow(self, target: URL, trail: _Trail) -> Fetched | Refused | URL:
        """What a host has to say; the url of another host where it says to go there."""
        host = host_of(str(target))
        while host_of(str(target)) == host:
            refused = self._check(target)
            if refused is None and self.settings.robots and not trail.to_robots_txt:
                refused = await self._ask_robots(target)
            if refused is not None:
                return refused
            result = await self._get(target, trail)
            if not isinstance(result, URL):
                return result
            trail.hops += 1
            if trail.hops > MAX_REDIRECTS:
                return Refused(Failure("redirects", f"more than {MAX_REDIRECTS}"))
            target = result
        return target

    def _check(self, target: URL) -> Refused | None:
        """What is wrong with a target before anything is sent, at every hop."""
        host = target.host or ""
        if self.blocked.has_host(host):
            return Refused(Failure("blocked", "host"))
        if self.blocked.has_url(str(target)):
            return Refused(Failure("blocked", "url"))
        spelled = addresses.literal(host)
        if spelled is None:
            return None
        if not self.settings.allow_private_addresses and not addresses.is_public(spelled):
            return Refused(Failure("private_address", "not a public address"))
        if ":" not in spelled and spelled != host:
            return Refused(Failure("bad_url", "an address in no usual form"))
        return None

    async def _get(self, target: URL, trail: _Trail) -> Fetched | Refused | URL:
        """One request: a body, a failure, or where a redirect leads.

        A kept connection that the server has closed meanwhile says nothing of the url: the next
        one is tried at once, until one is new (RFC 9112, 9.3.1). aiohttp does so once only.
        """
        for _ in range(self.settings.per_host):
            _is_kept.set(False)
            try:
                return await self._ask(target, trail)
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                if not _is_kept.get():
                    raise
        return await self._ask(target, trail)

    async def _ask(self, target: URL, trail: _Trail) -> Fetched | Refused | URL:
        async with self._session.get(target, allow_redirects=False) as answer:
            trail.reached = True
            if answer.status in _REDIRECTS:
                await _drain(answer)
                return _redirect(target, answer.headers.get("Location"))
            if answer.status not in _SUCCESS:
                await _drain(answer)
                return _refused(answer.status, answer.headers)
            directive = None if trail.to_robots_txt else self._opt_out(answer)
            if directive is not None:
                await _drain(answer)
                return Refused(Failure("opt_out", f"X-Robots-Tag: {directive}"))
            if trail.to_robots_txt:
                body = await read_body(answer, _ROBOTS_BYTES, cut=True)
            else:
                body = await read_body(answer, self.settings.max_bytes)
            return Refused(body) if isinstance(body, Failure) else Fetched(body)

    def _opt_out(self, answer: aiohttp.ClientResponse) -> str | None:
        tags = answer.headers.getall("X-Robots-Tag", []) if self.settings.honor_opt_out else []
        return robots.opt_out(tags, self._agents)

    async def _ask_robots(self, target: URL) -> Refused | None:
        rules = await self._robots.of(str(target.origin()))
        if isinstance(rules, Refused):
            return rules
        if rules.allows(target.raw_path_qs):
            return None
        return Refused(Failure("robots", "robots.txt forbids the url"))

    async def _robots_file(self, target: URL) -> Fetched | Refused:
        trail = _Trail(to_robots_txt=True)
        answer = await self._within_deadline(target, trail)
        while isinstance(answer, Moved):
            trail = _Trail(answer.hops, answer.spent_s, to_robots_txt=True)
            answer = await self._within_deadline(URL(answer.url), trail)
        return answer

    async def _fetch_robots(self, origin: str) -> tuple[robots.Robots | Refused, float]:
        """The rules and for how long they hold, s. RFC 9309, 2.3.1: absent allows all, a server
        error forbids all, and of a host that cannot be reached nothing is fetched."""
        renewed = self._renewed
        answer = await self._robots_file(URL(origin) / "robots.txt")
        if isinstance(answer, Fetched):
            text = answer.data.decode("utf-8-sig", errors="replace")
            return robots.parse_robots(text, self._agents), robots.HOLDS_S
        error = answer.failure.error
        if error in ("http_5xx", "http_429"):
            return robots.FORBID_ALL, robots.TROUBLE_HOLDS_S
        if error in _UNREACHED:
            told = Failure(error, f"robots.txt: {answer.failure.message}")
            holds_s = robots.TROUBLE_HOLDS_S if renewed == self._renewed else 0.0
            return replace(answer, failure=told), holds_s
        return robots.ALLOW_ALL, robots.HOLDS_S


@dataclass
class _Trail:
    """Redirects so far, the time that went by before this host was asked, whether it has
    answered, and whether a robots.txt is wanted, to which a picture's wishes and bounds do not
    apply."""

    hops: int = 0
    spent_s: float = 0.0
    reached: bool = False
    to_robots_txt: bool = False


# Whether the request of this task goes over a connection that has served another before.
_is_kept: ContextVar[bool] = ContextVar("_is_kept", default=False)


class _Connector(aiohttp.TCPConnector):
    """One that tells of kept connections. (aiohttp's tracing does too, for a twentieth of the
    loop's time: it makes an object for each step of a request.)"""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._served: WeakSet[Any] = WeakSet()

    async def connect(self, *request: Any, **options: Any) -> Connection:
        """As of any connector."""
        connection = await super().connect(*request, **options)
        protocol = connection.protocol
        kept = protocol in self._served
        _is_kept.set(kept)
        if not kept:
            self._served.add(protocol)
        return connection


async def _drain(answer: aiohttp.ClientResponse) -> None:
    """Read a small body nobody needs, so that the connection can be used again."""
    length = answer.content_length
    if length is None or length > _DRAIN_BYTES:
        return
    # Where it does not come, the answer is known all the same, and the connection is closed.
    with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
        async with asyncio.timeout(_DRAIN_S):
            await answer.read()


def _redirect(target: URL, location: str | None) -> URL | Refused:
    if not location:
        return Refused(Failure("redirects", "a redirect without a target"))
    try:
        joined = str(target.join(URL(location)))
    except (ValueError, UnicodeError):
        return Refused(Failure("bad_url", "redirected to what cannot be parsed"))
    parsed = parse_url(joined)
    if isinstance(parsed, Failure):
        return Refused(Failure("bad_url", f"redirected: {parsed.message}"))
    return parsed


def _refused(status: int, headers: Mapping[str, str]) -> Refused:
    wait = _retry_after(headers.get("Retry-After")) or 0.0 if status in (429, 503) else None
    return Refused(Failure(error_of_status(status), f"HTTP status {status}"), wait)


def _retry_after(value: str | None) -> float | None:
    """Seconds of a Retry-After header, a number or a date, at most LONGEST_RETRY_AFTER_S."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except (TypeError, ValueError, OverflowError):
            return None
    return min(max(0.0, seconds), LONGEST_RETRY_AFTER_S) if seconds == seconds else None
