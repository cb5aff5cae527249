"""Files of web servers, by byte ranges over HTTP/1.1; what is interrupted is continued.

Tried again, after a pause that doubles: answers 408, 425, 429 and 5xx, refused and broken
connections, silence, and answers cut off, from the byte they reached. An address that a redirect
gave is used again until it is refused, as signed ones are once they expire. Everything else is
an error at once.
"""

from __future__ import annotations

import functools
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from coyo_tools.machinery.connections import connections, run
from coyo_tools.machinery.storage import first_line
from coyo_tools.machinery.traffic import Traffic, retry_after
from coyo_tools.words.errors import CorruptFile, CoyoError, SourceError

if TYPE_CHECKING:
    import aiohttp
    from yarl import URL

Sink = Callable[[int, bytes], None]

_PAUSED = (408, 425, 429, 500, 502, 503, 504, 507, 509, 520, 521, 522, 523, 524, 529)
_EXPIRED = (401, 403, 410)
_FURTHER = 1 << 20  # bytes after which a request counts as having got on
_LONGEST_PAUSE_S = 60.0
_AGAIN = "run the same command again: it goes on where it stopped"


@dataclass(frozen=True)
class Place:
    """A file on a web server.

    url: its address. where: how messages name it. headers: sent to its own host, not to one that it
    redirects to. fixed: its content cannot change, so that ETags need no look. explain: the
    error for a status and headers, or None for the usual one.
    """

    url: str
    where: str
    headers: Mapping[str, str] = field(default_factory=dict)
    fixed: bool = False
    explain: Callable[[int, Mapping[str, str]], CoyoError | None] = lambda _, __: None


class _Again(Exception):
    """A request that is worth trying again. after_s: as the server asks; at_once: without pause."""

    def __init__(self, why: str, after_s: float | None = None, *, at_once: bool = False) -> None:
        super().__init__(why)
        self.after_s, self.at_once = after_s, at_once


def fetch(
    place: Place, ranges: Sequence[tuple[int, int]], size: int, traffic: Traffic, sink: Sink
) -> None:
    """Give every byte of the ranges (start, end) to `sink(position, bytes)`, once each.

    size: of the whole file; 0 where unknown. Several ranges are in flight at once.
    Raises FileNotFoundError, SourceError, CorruptFile where it is another file by now.
    """
    run(_fetch_all(place, ranges, size, traffic, sink))


def get(
    place: Place, traffic: Traffic, json: Any = None, *, only: str = ""
) -> tuple[bytes, Mapping[str, str]]:
    """The whole answer and its headers; `json` is posted where given. Raises as `fetch`.

    only: a content type; of an answer of another one no byte is read.
    """
    return run(_whole(place, traffic, json, only))


def size_of(place: Place, traffic: Traffic) -> int:
    """Bytes of the file, by asking for its first one: not every server answers HEAD."""
    return run(_size(place, traffic))


async def _fetch_all(
    place: Place, ranges: Sequence[tuple[int, int]], size: int, traffic: Traffic, sink: Sink
) -> None:
    import asyncio

    async with asyncio.TaskGroup() as group:
        for start, end in ranges:
            group.create_task(_fetch(place, start, end, size, traffic, sink))


async def _fetch(
    place: Place, start: int, end: int, size: int, traffic: Traffic, sink: Sink
) -> None:
    rest, tries = _Rest(start, end, sink), _Tries(place, traffic)
    while rest.start < rest.end:
        try:
            async with traffic.turn, _Answer(place, traffic, rest.asked) as answer:
                _check_range(answer, place, rest, size)
                _check_tag(answer, place, traffic)
                while rest.start < rest.end and (chunk := await answer.content.readany()):
                    traffic.count(bytes=len(chunk))
                    rest.take(chunk)
                    tries.got(len(chunk))
            if rest.start < rest.end:
                raise _Again("the answer ended early")
        except _errors() as error:
            await tries.pause(error)


@dataclass
class _Rest:
    """What is still to come of a range."""

    start: int
    end: int
    sink: Sink

    @property
    def asked(self) -> dict[str, str]:
        return {"Range": f"bytes={self.start}-{self.end - 1}"}

    def take(self, chunk: bytes) -> None:
        wanted = chunk[: self.end - self.start]
        self.sink(self.start, wanted)
        self.start += len(wanted)


async def _whole(
    place: Place, traffic: Traffic, json: Any, only: str
) -> tuple[bytes, Mapping[str, str]]:
    tries = _Tries(place, traffic)
    while True:
        try:
            async with traffic.turn, _Answer(place, traffic, {}, json) as answer:
                wanted = only in ("", answer.content_type)
                body = await answer.read() if wanted else b""
                traffic.count(bytes=len(body))
                return body, answer.headers
        except _errors() as error:
            await tries.pause(error)


async def _size(place: Place, traffic: Traffic) -> int:
    tries = _Tries(place, traffic)
    while True:
        try:
            async with (
                traffic.turn,
                _Answer(place, traffic, {"Range": "bytes=0-0"}, empty=True) as answer,
            ):
                _check_tag(answer, place, traffic)
                total = _total(answer)
                if answer.status == 206:
                    traffic.count(bytes=len(await answer.read()))
                return int(answer.headers.get("Content-Length", 0)) if total is None else total
        except _errors() as error:
            await tries.pause(error)


class _Answer:
    """An answer with status 200 or 206, headers read; raises _Again and errors for others.

    empty: 416 is an answer too, that of an empty file.
    """

    def __init__(
        self,
        place: Place,
        traffic: Traffic,
        headers: Mapping[str, str],
        json: Any = None,
        *,
        empty: bool = False,
    ) -> None:
        self._place, self._traffic, self._headers = place, traffic, headers
        self._json, self._empty = json, empty

    async def __aenter__(self) -> aiohttp.ClientResponse:
        import asyncio

        place, traffic = self._place, self._traffic
        url, moved = _address(place, traffic)
        await asyncio.sleep(max(0.0, traffic.pause_left(str(url.host))))
        self._response = await self._request(url, moved)
        try:
            traffic.count(requests=len(self._response.history))  # what was redirected
            if self._response.history and self._response.ok:
                traffic.locations[place.url] = str(self._response.url)
            self._check_status(moved)
        except BaseException:
            self._response.close()
            raise
        return self._response

    async def __aexit__(self, *_: object) -> None:
        self._response.release()  # a body that was not read to its end closes the connection

    async def _request(self, url: URL, moved: bool) -> aiohttp.ClientResponse:
        import aiohttp

        timeout = aiohttp.ClientTimeout(
            total=None,
            sock_connect=self._traffic.settings.timeout_s,
            sock_read=self._traffic.settings.timeout_s,
        )
        own = {} if moved else dict(self._place.headers)
        self._traffic.count(requests=1)
        session = await connections().session()
        return await session.request(
            "GET" if self._json is None else "POST",
            url,
            headers={**own, "Accept-Encoding": "identity", **self._headers},
            json=self._json,
            timeout=timeout,
        )

    def _check_status(self, moved: bool) -> None:
        answer, place = self._response, self._place
        if answer.status in (200, 206) or (self._empty and answer.status == 416):
            return
        if moved and answer.status in _EXPIRED:
            self._traffic.locations.pop(place.url, None)
            raise _Again("the address has expired", at_once=True)
        said = f"{answer.url.host} answers {answer.status} {answer.reason or ''}".strip()
        if answer.status in _PAUSED:
            after = retry_after(answer.headers, time.time())
            if after is not None:
                self._traffic.pause(str(answer.url.host), min(after, _most(self._traffic)))
            raise _Again(said, after)
        asked = not moved and not answer.history  # the place itself, not where it led
        if asked and (explained := place.explain(answer.status, answer.headers)) is not None:
            raise explained
        if answer.status in (404, 410):
            raise FileNotFoundError(place.where)
        if answer.status == 416:
            raise _changed(place, "is shorter than it was")
        raise SourceError(f"cannot be read: {said}", where=place.where)


def _address(place: Place, traffic: Traffic) -> tuple[URL, bool]:
    """Where to ask, and whether that is an address which a redirect gave."""
    from yarl import URL

    moved = traffic.locations.get(place.url)
    if moved:  # signed addresses must go back byte by byte as they came
        return URL(moved, encoded=True), True
    try:
        url = URL(place.url)
    except ValueError as error:
        raise _no_address(place, first_line(error)) from error
    if not url.host:
        raise _no_address(place, "it names no host")
    return url, False


def _no_address(place: Place, why: str) -> SourceError:
    return SourceError(f"is no address: {why}", where=place.where, todo="check how it is written")


def _check_range(answer: aiohttp.ClientResponse, place: Place, rest: _Rest, size: int) -> None:
    if answer.status == 200:
        if (rest.start, rest.end) == (0, int(answer.headers.get("Content-Length", -1))):
            return
        raise SourceError(
            "cannot be read in parts: its server takes no byte ranges",
            where=place.where,
            todo="fetch the file and name your copy",
        )
    said = answer.headers.get("Content-Range", "")
    if not said.replace("=", " ").startswith(f"bytes {rest.start}-"):
        raise _Again(f"{answer.url.host} sent another range than asked for")
    total = _total(answer)
    if size and total is not None and total != size:
        raise _changed(place, f"has {total:,} bytes and had {size:,}")


def _total(answer: aiohttp.ClientResponse) -> int | None:
    total = answer.headers.get("Content-Range", "").rpartition("/")[2]
    return int(total) if total.isdecimal() else None


def _check_tag(answer: aiohttp.ClientResponse, place: Place, traffic: Traffic) -> None:
    tag = answer.headers.get("ETag", "").removeprefix("W/")
    if tag and not place.fixed and traffic.tags.setdefault(place.url, tag) != tag:
        raise _changed(place, "was replaced by another file")


def _changed(place: Place, how: str) -> CorruptFile:
    return CorruptFile(
        f"{how} since this run began", where=place.where, todo="start again once it rests"
    )


def _most(traffic: Traffic) -> float:
    return traffic.settings.patience_s


class _Tries:
    """How often, and how long, one request has been tried without getting on."""

    def __init__(self, place: Place, traffic: Traffic) -> None:
        self._place, self._traffic, self._settings = place, traffic, traffic.settings
        self._begin()

    def _begin(self) -> None:
        self._failed = self._received = 0
        self._since = time.monotonic()

    def got(self, count: int) -> None:
        """Bytes came: after enough of them the count starts anew."""
        self._received += count
        if self._received >= _FURTHER:
            self._begin()

    async def pause(self, error: BaseException) -> None:
        """Wait before the next try. Raises SourceError where there should be none."""
        import asyncio

        import aiohttp

        if isinstance(error, aiohttp.ClientSSLError):
            raise self._given_up(error, "") from error
        self._failed += 1
        again = error if isinstance(error, _Again) else _Again(_told(error))
        wait = self._wait(again)
        spent = time.monotonic() - self._since
        allowed = self._settings.attempts
        if isinstance(error, aiohttp.ClientConnectorError) and not self._traffic.received:
            allowed = min(allowed, 2)  # more likely a wrong address than one that is away
        if self._failed >= allowed or spent + wait > _most(self._traffic):
            asked = f" and asks to wait {again.after_s:,.0f} s" if again.after_s else ""
            tried = f" (tried {self._failed} times)" if self._failed > 1 else ""
            raise self._given_up(again, asked + tried) from error
        self._traffic.count(repeated=1)
        if wait:
            self._traffic.on_wait(f"waiting {wait:.0f} s: {again}")
            await asyncio.sleep(wait)

    def _wait(self, again: _Again) -> float:
        if again.at_once:
            return 0.0
        pause = min(_LONGEST_PAUSE_S, self._settings.pause_s * 2.0 ** (self._failed - 1))
        jittered = pause * random.uniform(0.5, 1.0)  # noqa: S311  no secret
        return jittered + (again.after_s or 0.0)

    def _given_up(self, error: BaseException, more: str) -> SourceError:
        return SourceError(
            f"cannot be read: {_told(error)}{more}", where=self._place.where, todo=_AGAIN
        )


def _told(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "the connection fell silent"
    return first_line(error)


@functools.cache
def _errors() -> tuple[type[BaseException], ...]:
    """What a request that is worth trying again raises."""
    import aiohttp

    return (_Again, aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError,
            aiohttp.http.HttpProcessingError)  # fmt: skip
