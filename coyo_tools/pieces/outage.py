"""Whether rows fail by their hosts or by the network here: a state machine without a clock.

A row that fails for want of any answer is held until it is known who is to blame: its host, where
anybody answers later on; the network, where several hosts are silent in a row, and with them those
that have answered before, or the name servers. Where nobody can tell, it is the host.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from coyo_tools.pieces.asking_around import Asked
from coyo_tools.pieces.fetch import Fetched, Moved, Refused
from coyo_tools.pieces.hosts import host_of, without_port
from coyo_tools.words.failures import Failure

Row = TypeVar("Row")
# An answer may lie in the machine for a while before it is heard: only one that is heard so much
# later than a failure says that there was a network when that failed.
SETTLE_S = 1.0
HOSTS = 3  # different ones, silent in a row
WITNESSES = 2  # hosts that have answered before, of which one alone may be gone by itself
REMEMBERED = 4  # of them
_REMEMBER_EVERY_S = 0.1  # one, once so many are known: few answers are worth the cost
_SILENT = frozenset(("connect", "dns", "timeout", "truncated"))
_AT_ONCE = frozenset(("connect", "dns"))  # another try of these costs next to nothing
# What a try may come to whose network goes away under it, or is not there yet.
_SPOILT = _SILENT | {"protocol", "tls", "no_such_host"}
# Nobody was asked, or a name server, which may know by heart what it says.
_NO_WORD = frozenset(
    ("bad_url", "blocked", "private_address", "no_such_host", "robots", "internal")
)


def is_silence(failure: Failure) -> bool:
    """Whether a failure may be one of the network: a host that refuses a connection is there."""
    return failure.error in _SILENT and not failure.message.endswith("refused")


def is_life(answer: Fetched | Refused | Moved) -> bool:
    """Whether a host has said anything."""
    if not isinstance(answer, Refused):
        return True
    return not is_silence(answer.failure) and answer.failure.error not in _NO_WORD


def is_spoilt(failure: Failure) -> bool:
    """Whether an outage in the middle of a try may be why it came to this."""
    return failure.error in _SPOILT


@dataclass
class Streak:
    """Hosts that were silent with no answer of anybody's in between, each with the class of its
    failure. began: with the first, s."""

    began: float = math.inf
    hosts: dict[str, str] = field(default_factory=dict)

    @property
    def is_odd(self) -> bool:
        """Whether it may be an outage."""
        return len(self.hosts) >= HOSTS


@dataclass(frozen=True)
class Held(Generic[Row]):
    """A row and when it failed, s. streak: its host's silence is one of."""

    at: float
    failure: Failure
    row: Row
    streak: Streak


@dataclass(frozen=True)
class Verdict(Generic[Row]):
    """Rows that are no longer held. failed: by their hosts. unsure: there may have been an outage
    that is over; they deserve another try, if they have not had it."""

    failed: list[Held[Row]]
    unsure: list[Held[Row]]


class Watch(Generic[Row]):
    """What one process knows of its network. Times are seconds on the loop's clock.

    longest_try_s: that a try may take. outages: noticed so far. gone_since: of the one that lasts;
    None while there is none. lived_at: when anybody last answered.
    """

    def __init__(self, longest_try_s: float = 0.0) -> None:
        self.outages = 0
        self._longest_try_s = longest_try_s
        self.gone_since: float | None = None
        self.lived_at = -math.inf
        self._streak = Streak()
        self._silence = (math.inf, -math.inf)  # the last long one: when it began and ended
        self._held: deque[Held[Row]] = deque()
        self._witnesses: dict[str, str] = {}  # by host the url, the latest last
        self._remembered_at = -math.inf

    @property
    def witnesses(self) -> list[str]:
        """Urls of different hosts that have answered, the latest last."""
        return list(self._witnesses.values())

    @property
    def silent_hosts(self) -> list[str]:
        """Those since the last answer."""
        return list(self._streak.hosts)

    def lives(self, now: float, url: str | None) -> None:
        """The host of a url has answered."""
        self._is_heard(now)
        # Hosts that answer in step would show the same one each time.
        enough = len(self._witnesses) == REMEMBERED
        if enough and now - self._remembered_at < _REMEMBER_EVERY_S:
            return
        self._remembered_at = now
        host = without_port(host_of(url))
        self._witnesses.pop(host, None)
        self._witnesses[host] = url or ""
        if len(self._witnesses) > REMEMBERED:
            del self._witnesses[next(iter(self._witnesses))]

    def _is_heard(self, now: float) -> None:
        """Somebody has answered."""
        began = self._streak.began
        if self.lived_at < began <= now - SETTLE_S and self._streak.is_odd:
            self._silence = began, now
        self.lived_at = now

    def is_silent(self, now: float, host: str, failure: Failure) -> None:
        """A host gave no answer."""
        if self.lived_at >= self._streak.began or not self._streak.hosts:
            self._streak = Streak(now)
        self._streak.hosts.setdefault(without_port(host), failure.error)

    def hold(self, now: float, failure: Failure, row: Row) -> None:
        """A row has failed for want of an answer, and is not to be tried again."""
        self._held.append(Held(now, failure, row, self._streak))

    def settled(self) -> Verdict[Row]:
        """Of the rows after whose failure anybody has answered."""
        return self._verdict(self.lived_at - SETTLE_S, slow=False)

    def has_doubts(self, now: float) -> bool:
        """Whether it is time to ask around: a row is held, or several hosts have been silent in a
        row, for a while."""
        streak = self._streak
        since = streak.began if streak.is_odd and self.lived_at < streak.began else math.inf
        if self._held:
            since = min(since, self._held[0].at)
        return now - since >= SETTLE_S

    def judge(self, asked_at: float, now: float, found: Asked) -> Verdict[Row]:
        """Of the rows that failed before this was asked; none where the network is gone."""
        if found.answered:
            self._is_heard(now)
        if self.lived_at > asked_at:
            return self._verdict(asked_at, slow=now - asked_at > SETTLE_S)
        if not self._is_gone(found):
            self._streak = Streak()
            return Verdict(self._take(asked_at), [])
        self.outages += 1
        self.gone_since = self._streak.began
        return Verdict([], [])

    def _is_gone(self, found: Asked) -> bool:
        """Several hosts are silent, and somebody who would have answered: hosts that did before,
        or name servers, which owe a host its name (else there may be none in this network)."""
        silent = found.silent.union(self._streak.hosts)
        owed = found.no_word and "dns" in self._streak.hosts.values()
        return len(silent) >= HOSTS and (owed or len(found.silent) >= WITNESSES)

    def take_back(self) -> list[Held[Row]]:
        """Take every row, to ask for it again."""
        return self._take(math.inf)

    def is_back(self, now: float) -> float:
        """The outage is over; for how long it lasted, s."""
        assert self.gone_since is not None
        lasted_s, self.gone_since = now - self.gone_since, None
        self._streak = Streak()
        return lasted_s

    def _verdict(self, until: float, *, slow: bool) -> Verdict[Row]:
        """slow: somebody answered in the end, and may not have been reached at first."""
        verdict: Verdict[Row] = Verdict([], [])
        began, ended = self._silence
        for held in self._take(until):
            # What was heard after it failed may have come before, if everybody was silent then;
            # and what was asked in the silence may fail after it.
            odd = held.streak.is_odd or (
                began - SETTLE_S <= held.at <= ended + self._longest_try_s + SETTLE_S
            )
            unsure = odd and (slow or held.failure.error in _AT_ONCE)
            (verdict.unsure if unsure else verdict.failed).append(held)
        return verdict

    def _take(self, until: float) -> list[Held[Row]]:
        taken = []
        while self._held and self._held[0].at <= until:
            taken.append(self._held.popleft())
        return taken
