"""What a site asks of robots: X-Robots-Tag headers and robots.txt (RFC 9309)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

HOLDS_S = 24 * 3600.0  # for how long an answer holds (RFC 9309, 2.4)
TROUBLE_HOLDS_S = 600.0  # the same, of none
_REMEMBERED = 100_000

# `none` is short for `noindex, nofollow`.
OPT_OUTS = frozenset(("noai", "noimageai", "noindex", "noimageindex", "none"))
# Directives with a value: what stands before their colon is no user agent.
_WITH_VALUE = frozenset(
    ("unavailable_after", "max-snippet", "max-image-preview", "max-video-preview")
)


def opt_out(headers: Iterable[str], agent: str) -> str | None:
    """The first directive of X-Robots-Tag headers that forbids use, or None.

    headers: each header's value, such as `noai, noimageai` or `otherbot: noindex`. agent: this
    tool's product token; a directive scoped to another agent does not count.
    """
    for value in headers:
        scope = "*"
        for piece in value.split(","):
            name, colon, rest = piece.partition(":")
            directive = name.strip().lower()
            if colon and directive not in _WITH_VALUE:
                scope, directive = directive, rest.strip().lower()
            if directive in OPT_OUTS and scope in ("*", agent.lower()):
                return directive
    return None


@dataclass(frozen=True)
class Robots:
    """The rules of one robots.txt that concern one agent: (allow, pattern), in file order."""

    rules: tuple[tuple[bool, str], ...] = ()

    def allows(self, path: str) -> bool:
        """Whether the path (with its query) may be fetched: the longest match decides, and
        allow wins a tie (RFC 9309, 2.2.2)."""
        matches = [(len(p), allow) for allow, p in self.rules if _matches(p, path)]
        return max(matches)[1] if matches else True


def _matches(pattern: str, path: str) -> bool:
    """A prefix match; `*` stands for any characters, a last `$` for the end.

    Each part is looked for once from where the last one ended: a pattern of many stars costs
    no more than its length.
    """
    ended = pattern.endswith("$")
    first, *others = (pattern[:-1] if ended else pattern).split("*")
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
FORBID_ALL = Robots(((False, "/"),))


def parse_robots(text: str, agent: str) -> Robots:
    """The rules for an agent: those of every group that names it, else of the groups for `*`."""
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
                groups[one].append((name == "allow", value))
    return Robots(tuple(groups.get(agent.lower(), groups.get("*", []))))


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

    async def close(self) -> None:
        """Give up what is still asked for."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
