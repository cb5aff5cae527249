"""What one host may be asked, and when: connections, a rate, pauses, and being put aside.

The numbers of a run are shared out to its processes evenly, since a host's rows are in all of
them; a process that is done leaves its share unused.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from coyo_tools.pieces import addresses
from coyo_tools.pieces.pace import mean_after
from coyo_tools.words.config import DownloadSettings
from coyo_tools.words.failures import Failure

# As many as a browser opening a page of pictures; a host with 2 % of all rows still lets a run
# do 1,000 rows/s.
USUAL_RATE = 20.0
FIRST_CONNECTIONS = 8  # to a host that has not answered yet; one more with each answer
# Failures in a row without any answer, after which a host is put aside; with fewer connections to
# it as many as these, and at least two: they end together, and cost one deadline.
STRIKES = 8
ERRORS = 24  # 5xx in a row without any other answer, after which a host is put aside
OUTAGE_S = 15.0  # of silence that a host which has answered before is waited for
LAST_TRIES = 3  # rows of a shard with which a host that was put aside is asked once more
FIRST_PAUSE_S = 1.0  # after 429 or 503; doubled with each in a row, and up to half more or less
LONGEST_PAUSE_S = 60.0  # a host that asks for longer is put aside
PAUSES = 5  # in a row, after which a host is put aside


@dataclass(frozen=True)
class Limits:
    """One process's share. connections: to one host. rate: requests a second to one host, 0: no
    limit, None: the usual one, and none for hosts spelled as private addresses."""

    connections: int
    rate: float | None = 0.0
    processes: int = 1

    @classmethod
    def of(cls, settings: DownloadSettings, processes: int) -> Limits:
        """The share of one of so many processes; at least one connection each."""
        return cls(max(1, settings.per_host // processes), settings.per_host_rate, processes)

    def rate_of(self, host: str) -> float:
        """Requests a second that this process may send to a host; 0: no limit."""
        if not host:
            return 0.0  # rows without a sound url, for which nothing is sent
        usual = 0.0 if self.rate is None and _is_private(host) else USUAL_RATE
        return (usual if self.rate is None else self.rate) / self.processes


def _is_private(host: str) -> bool:
    """Whether a host, as a url spells it, names this machine or an address that is not public."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    spelled = addresses.literal(name)
    if spelled is not None:
        return not addresses.is_public(spelled)
    return name == "localhost" or name.endswith(".localhost")


@dataclass(frozen=True)
class Heard:
    """What a request told of the host. reached: it answered, whatever it said. wait_s: it asked
    to wait, 0 where it did not say how long. failure: why there is no body, for hosts that are
    put aside. sent: something was sent at all. telling: what happened says something of it.
    final: it said all it had to say, and nothing that another try may change. broken: it said
    that it is (5xx). took_s: until the end of its answer, or of the deadline; None where there
    was neither."""

    reached: bool = True
    wait_s: float | None = None
    failure: Failure | None = None
    sent: bool = True
    telling: bool = True
    final: bool = True
    broken: bool = False
    took_s: float | None = None


class Host:
    """One host as this process knows it. Times are seconds on the loop's clock."""

    __slots__ = ("_burst", "_due", "_every", "_most", "_window", "answer_s", "answers", "aside",
                 "busy", "errors", "not_before", "paused", "pauses", "silent_since",
                 "slow_at", "strikes", "unheard_since")  # fmt: skip

    def __init__(self, connections: int, rate: float) -> None:
        self._most, self._window = connections, min(FIRST_CONNECTIONS, connections)
        self._every = 1 / rate if rate else 0.0  # between two requests on average
        self._burst = self._every * (max(1.0, rate) - 1)  # a second's worth may come at once
        self._due = 0.0  # when the next one would be due, were they evenly spread (GCRA)
        self.busy = self.strikes = self.pauses = self.errors = 0
        self.not_before = 0.0
        self.answers = 0  # final ones
        self.answer_s: float | None = None  # that one takes, moving mean
        self.slow_at: float | None = None  # when it began to be slow beside others, while it is
        self.unheard_since = 0.0  # while it is busy: its last word, or when it began to be
        self.paused: Failure | None = None  # what it said when it last asked to wait
        self.silent_since = math.inf  # since its last final answer; inf where it is not silent
        self.aside: Failure | None = None

    @property
    def has_room(self) -> bool:
        """Whether a connection is free."""
        return self.busy < self._window

    @property
    def free_at(self) -> float:
        """The moment from which the next request may be sent."""
        return max(self.not_before, self._due - self._burst)

    def may_return(self, now: float) -> bool:
        """Whether it has answered before, and is silent for no longer than an outage lasts."""
        return bool(self.answers) and self.silent_since <= now < self.silent_since + OUTAGE_S

    def worth_s(self, answers: int) -> float:
        """How long so many answers take at its rate, s."""
        return answers * (self._every or 1 / USUAL_RATE)

    def ask(self, now: float) -> None:
        """A request is sent."""
        if not self.busy:
            self.unheard_since = now
        self.busy += 1
        self._due = max(now, self._due) + self._every

    def hear(self, now: float, heard: Heard, jitter: float) -> None:
        """A request has ended. jitter: 0.5 to 1.5, by which a pause is multiplied."""
        self.busy -= 1
        if heard.reached:
            self.unheard_since = now
        if heard.took_s is not None:
            self.answer_s = mean_after(self.answer_s, heard.took_s)
        if heard.sent and heard.reached and heard.final:
            self.answers += 1
            self.silent_since = math.inf
        if not heard.sent:
            self._due -= self._every  # it cost the host nothing
        elif heard.wait_s is not None:
            self._pause(now, heard, jitter)
        elif not heard.telling:
            return
        elif heard.reached and now < self.not_before:
            self.strikes = 0  # it was under way when the host asked to wait
        elif heard.reached:
            self.strikes = self.pauses = 0
            self._count_error(heard)
        else:
            self.strikes += 1
            self.silent_since = min(self.silent_since, now)
            self._window = max(1, self._window - 1)  # no more until it is known what became of it
            if self.strikes >= max(2, min(STRIKES, self._most)):
                self._put_aside(heard.failure)

    def _count_error(self, heard: Heard) -> None:
        """An answer brings a host back and lets it have more connections, but for too many 5xx."""
        self.errors = self.errors + 1 if heard.broken else 0
        if self.errors >= ERRORS:
            self._put_aside(heard.failure)
            return
        self.aside = None
        if not heard.broken:
            self._window = min(self._most, self._window + 1)

    def _pause(self, now: float, heard: Heard, jitter: float) -> None:
        """The whole host waits, and comes back with one connection. Requests that were under way
        when it paused do not count as another one."""
        wanted = heard.wait_s or 0.0
        self.strikes = 0
        self._window = 1
        self.paused = heard.failure
        if now >= self.not_before:
            own = FIRST_PAUSE_S * 2**self.pauses * jitter
            self.pauses += 1
            wanted = max(wanted, min(own, LONGEST_PAUSE_S))
        self.not_before = max(self.not_before, now + wanted)
        if wanted > LONGEST_PAUSE_S or self.pauses > PAUSES:
            self._put_aside(heard.failure)

    def _put_aside(self, failure: Failure | None) -> None:
        self.aside = failure or Failure("connect", "no connection")
        self._window = min(LAST_TRIES, self._most)

    def forgive(self) -> None:
        """That it was silent was not its fault."""
        self.strikes, self.silent_since, self.aside = 0, math.inf, None
        self._window = min(FIRST_CONNECTIONS, self._most)

    def is_plain(self, now: float) -> bool:
        """Whether nothing is to be remembered of it."""
        idle = not self.busy and self.free_at <= now
        return idle and not (self.strikes or self.pauses or self.errors or self.aside)
