"""What a site asks of robots: X-Robots-Tag headers and robots.txt (RFC 9309)."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Collection, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import quote

HOLDS_S = 24 * 3600.0  # for how long an answer holds (RFC 9309, 2.4)
TROUBLE_HOLDS_S = 600.0  # the same, of none
_REMEMBERED = 100_000

# `none` is short for `noindex, nofollow`.
OPT_OUTS = frozenset(("noai", "noimageai", "noindex", "noimageindex", "none"))
# Directives with a value: what stands before their colon is no user agent.
_WITH_VALUE = frozenset(
    ("unavailable_after", "max-snippet", "max-image-preview", "max-video-preview")
)


_TOKEN = re.compile(r"[a-z0-9_.-]+|\*")
_PRODUCT = re.compile(r"([\w.-]+)/|^\s*([\w.-]+)")
_URL = re.compile(r"\S*://\S*")


def agents_in(user_agent: str) -> frozenset[str]:
    """The product tokens of a User-Agent, in lower case: `mozilla` and `mybot` of
    `Mozilla/5.0 (compatible; MyBot/1.0; +https://example.org/bot)`."""
    found = _PRODUCT.findall(_URL.sub(" ", user_agent).lower())
    return frozenset(token for pair in found for token in pair if token)


def opt_out(headers: Iterable[str], agents: Collection[str]) -> str | None:
    """The first directive of X-Robots-Tag headers that forbids use, or None.

    headers: each header's value, such as `noai, noimageai` or `otherbot: noindex`. agents: our
    product tokens, in lower case; a directive scoped to another agent does not count.
    """
    for value in headers:
        scope = "*"
        for piece in value.split(","):
            name, colon, rest = piece.partition(":")
            directive = name.strip().lower()
            if colon and directive not in _WITH_VALUE:
                if not _TOKEN.fullmatch(directive):
                    continue  # the rest of a date, whose comma stands before it
                scope, directive = directive, rest.strip().lower()
            if directive in OPT_OUTS and (scope == "*" or scope in agents):
                return directive
    return None


@dataclass(frozen=True)
class Robots:
    """The rules of one robots.txt that concern us: for each group of them (allow, pattern), in
    file order, patterns in one spelling (see `spelled`)."""

    groups: tuple[tuple[tuple[bool, str], ...], ...] = ()

    def allows(self, path: str) -> bool:
        """Whether each group lets the path (with its query) be fetched: the longest match decides,
        and allow wins a tie (RFC 9309, 2.2.2)."""
        path = spelled(path).replace("*", "%2A").replace("$", "%24")
        for rules in self.groups:
            matches = [(len(p), allow) for allow, p in rules if _matches(p, path)]
            if matches and not max(matches)[1]:
                return False
        return True


_ESCAPED = re.compile(rb"%([0-9a-fA-F]{2})")
_PRINTED = "".join(map(chr, range(0x20, 0x7F)))


def spelled(path: str) -> str:
    """A path or pattern in one spelling: nothing is escaped but what would else mean something
    different (RFC 9309, 2.2.2)."""
    path, mark, query = path.partition("?")
    return _unescaped(path, b"/?#%*$") + mark + _unescaped(query, b"#%*$")


def _unescaped(text: str, but: bytes) -> str:
    def plain(match: re.Match[bytes]) -> bytes:
        byte = bytes.fromhex(match[1].decode())
        return match[0].upper() if byte in but else byte

    return quote(_ESCAPED.sub(plain, text.encode("utf-8", "surrogatepass")), safe=_PRINTED)


def _matches(pattern: str, path: str) -> bool:
    """A prefix match; `*` stands for any characters, a last `$` for the end.

    Each part is looked for once from where the last one ended: a pattern of many stars costs
    no more than its length.
    """
    ended = pattern.endswith("$")
    body = pattern[:-1] if ended else pattern
    first, *others = body.replace("$", "%24").split("*")
    if not path.startswith(first):
        return False
    at = len(first)
    last = others.pop() if ended and others else None
    for part in others:
        found = path.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    if last is not None:
        return len(path) - len(last) >= at and path.endswith(last)
    return not ended or at == len(path)


ALLOW_ALL = Robots()
FORBID_ALL = Robots((((False, "/"),),))


def parse_robots(text: str, agents: Iterable[str]) -> Robots:
    """The rules for us: for each of our product tokens (in lower case) those of every group that
    names it; where none is named, those of the groups for `*`."""
    groups: dict[str, list[tuple[bool, str]]] = {}
    current: list[str] = []
    in_rules = False
    for line in text.splitlines():
        name, _, value = line.split("#", 1)[0].partition(":")
        name, value = name.strip().lower(), value.strip()
        if name == "user-agent":
            current = [*([] if in_rules else current), value.lower()]
            in_rules = False
            groups.setdefault(value.lower(), [])
        elif name in ("allow", "disallow"):
            in_rules = True
            for one in current if value else []:
                groups[one].append((name == "allow", spelled(value)))
    named = [groups[agent] for agent in sorted(agents) if agent in groups]
    return Robots(tuple(map(tuple, named or [groups.get("*", [])])))


Answer = TypeVar("Answer")


class Cache(Generic[Answer]):
    """What came of asking origins for their robots.txt: each is asked once, until it no longer
    holds. ask: gives for an origin what came, and for how many seconds that holds."""

    def __init__(self, ask: Callable[[str], Coroutine[Any, Any, tuple[Answer, float]]]) -> None:
        self._ask = ask
        self._known: dict[str, tuple[float, Answer]] = {}
        self._asking: dict[str, asyncio.Task[Answer]] = {}

    async def of(self, origin: str) -> Answer:
        """What holds for an origin now."""
        until, answer = self._known.get(origin, (0.0, None))
        if answer is not None and until > time.monotonic():
            return answer
        if origin not in self._asking:
            task = self._asking[origin] = asyncio.create_task(self._learn(origin))
            task.add_done_callback(lambda _: self._asking.pop(origin, None))
        return await asyncio.shield(self._asking[origin])

    async def _learn(self, origin: str) -> Answer:
        answer, holds_s = await self._ask(origin)
        self._known.pop(origin, None)
        while len(self._known) >= _REMEMBERED:
            del self._known[next(iter(self._known))]
        self._known[origin] = (time.monotonic() + holds_s, answer)
        return answer

    def forget(self, kind: type[Any]) -> None:
        """Ask again where what came is of this kind."""
        self._known = {o: each for o, each in self._known.items() if not isinstance(each[1], kind)}

    async def close(self) -> None:
        """Give up what is still asked for."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
