"""Which row is fetched next, and what becomes of one that failed.

A host that answers nothing, several times in a row, is put aside. Its rows wait until nothing
else is left of their shard; then a few of them are tried, and where these fail as well the
shard's other rows of this host are recorded with their failure, unasked. So a dead host costs a
shard one deadline; one that has answered before is waited for, as long as an outage lasts.

Rows of a host that asked to wait are taken out of the line until it may be asked again, or until
their shard has waited long enough for nothing else. Nor does a shard wait longer than that for
hosts that answer, but take much longer than others (`stages.stragglers`).
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial

from coyo_tools.pieces.fetch import Fetched, Moved, Refused
from coyo_tools.pieces.host_limits import LAST_TRIES, OUTAGE_S, Heard, Limits
from coyo_tools.pieces.hosts import HostQueue, host_of
from coyo_tools.pieces.outage import Held, Watch, is_life, is_silence, is_spoilt
from coyo_tools.stages.hearing import found_nobody, heard, was_sent
from coyo_tools.stages.open_shard import Job, LastTry, Later, OpenShard
from coyo_tools.stages.stragglers import LOOK_S, Stragglers
from coyo_tools.words.config import DownloadSettings
from coyo_tools.words.failures import FAILURES, Failure

BACKOFF_S = 0.5  # before a row's first retry; doubled for each further one
LONGEST_BACKOFF_S = 30.0
_LOOK_S = 4.0  # at most, between two looks whether a host that was there has returned
TRIES_WHEN_ASKED_TO_WAIT = 4  # to one of --retries, after 429 and 503
_WAITING = 8  # rows a connection; where fewer are lined up, the next shard is begun


class Turns:
    """The rows of a process's open shards, in the order in which they may be fetched.

    processes: that share what a host bears. shards: those that are open. give_up: called with
    rows that are to be recorded with a failure.
    """

    def __init__(
        self,
        settings: DownloadSettings,
        processes: int,
        shards: set[OpenShard],
        give_up: Callable[[Sequence[Job], Failure], None],
    ) -> None:
        self._settings, self._shards, self._give_up = settings, shards, give_up
        self._queue: HostQueue[Job] = HostQueue(
            _WAITING * settings.connections,
            Limits.of(settings, processes),
            settings.timeout_s,
        )
        self.take, self.close = self._queue.take, self._queue.close
        self.wants_more = self._queue.wants_more
        self.watch: Watch[Job] = Watch(settings.timeout_s)
        self._stragglers = Stragglers(
            self._queue, settings.timeout_s, self.try_a_last_time, self._wait_no_longer
        )
        self._pausing: set[str] = set()  # hosts that a timer waits for
        self._random = random.Random()  # noqa: S311  jitter only, never part of a result

    def line_up(self, job: Job) -> None:
        """Let a row wait for its turn, for the end of its host's pause, or for its last try."""
        host = host_of(job.url)
        job.shard.ask(host, job.row)
        if host in job.shard.given_up:
            self._drop(host, job, job.shard.given_up[host])
            return
        if job.last or not self._queue.alone(host):
            self._queue.put(host, job)
            return
        job.shard.park(host, job)
        self.try_a_last_time(job.shard)

    def hear(
        self,
        host: str,
        job: Job,
        answer: Fetched | Refused | Moved,
        outages: int = 0,
        took_s: float = 0.0,
    ) -> bytes | Failure | None:
        """What is to be recorded of a row that `take` gave; None where it is asked for again, or
        of another host, or where its failure may be the network's. outages: noticed before the
        row was asked for. took_s: until the answer was whole."""
        now = asyncio.get_running_loop().time()
        if is_life(answer):
            self.watch.lives(now, job.url)
        elif isinstance(answer, Refused) and is_spoilt(answer.failure):
            if outages != self.watch.outages:
                self._ask_anew(host, job)
                return None
            if self._may_be_the_network(answer.failure):
                self.watch.is_silent(now, host, answer.failure)
        self._tell_host(host, answer, took_s)
        if was_sent(answer):
            job.shard.sent_to.add(host)
        if isinstance(answer, Refused):
            if job.gone_at is None and found_nobody(answer):
                job = replace(job, gone_at=asyncio.get_running_loop().time())
            if self._last_try_again(host, job, answer):
                return None
        result: bytes | Failure | None
        if isinstance(answer, Fetched):
            result = answer.data
        elif isinstance(answer, Moved):
            result = None
            self.line_up(replace(job, last=False, moved=answer))
        else:
            result = None if self._try_again(host, job, answer) else answer.failure
        if job.last:
            self._end_last_try(host, job.shard, answer)
        if isinstance(result, Failure) and self._may_be_the_network(result):
            self.watch.hold(now, result, job)
            return None
        return result

    def stand_still(self) -> None:
        """The network is gone: ask for nothing, and have it be as if nothing had been asked for
        since anybody last answered."""
        self._queue.pause()
        for shard in self._shards:
            self._stragglers.let_go(shard)
            shard.given_up.clear()
        for host in self._queue.forgive(self.watch.lived_at):
            self._bring_back(host)
        for held in self.watch.take_back():
            self.line_up(Job(held.row.shard, held.row.row))

    def try_once_more(self, held: Held[Job]) -> bool:
        """Line a row up whose failure may have been an outage's that is over, once."""
        job = held.row
        if not job.spared:
            self.line_up(Job(job.shard, job.row, tries=self._settings.retries, spared=True))
        return not job.spared

    def go_on(self) -> None:
        """The network is back."""
        for shard in self._shards:
            shard.waits.clear()  # the time that went by was no host's
            if shard.others_at is not None:
                shard.others_at = asyncio.get_running_loop().time()
        self._queue.go_on()

    def _ask_anew(self, host: str, job: Job) -> None:
        """A try in which the network went away or came back is none."""
        self._queue.release(host, Heard(sent=False))
        jobs = [job]
        if job.last:
            jobs += self._last_of(host, job.shard)
        for each in jobs:
            self.line_up(Job(each.shard, each.row))

    def _may_be_the_network(self, failure: Failure) -> bool:
        return self._settings.network_wait_s > 0 and is_silence(failure)

    def answered(self, shard: OpenShard, row: int) -> None:
        """What becomes of a row is known."""
        host = shard.answered(row)
        if host is not None and host in shard.sent_to:
            self._stragglers.is_done_with(shard, host)
        if not shard.asked:
            self._stragglers.let_go(shard)

    async def look_out(self) -> None:
        """See again and again which shards are held up by slow hosts; runs for ever."""
        while True:
            await asyncio.sleep(LOOK_S)
            if self.watch.gone_since is None:
                for shard in list(self._shards):
                    self._stragglers.look(shard)

    def hear_no_more(self, host: str, job: Job, outages: int) -> None:
        """As `hear`, of a row that was under way when its shard would wait no longer."""
        if outages != self.watch.outages:
            self._ask_anew(host, job)
            return
        self._queue.release(host, Heard(reached=False, telling=False))
        self._drop(host, job, job.shard.given_up.get(host, _too_slow()))

    def _wait_no_longer(self, shard: OpenShard, since: float, hosts: Iterable[str]) -> None:
        """End all rows of these hosts, that have held a shard up since then."""
        now = asyncio.get_running_loop().time()
        shard.held_since = since
        for host in hosts:
            why = shard.given_up[host] = self._queue.aside(host) or _too_slow()
            for job in self._queue.withdraw(host):
                if job.shard is shard:
                    self._drop(host, job, why)
                else:
                    self._queue.put(host, job)
            for row in shard.rows_of(host):
                if row in shard.under_way:
                    shard.under_way[row].reschedule(now)
                elif row in shard.later:
                    later = shard.later.pop(row)
                    later.timer.cancel()
                    self._drop(host, later.job, later.failure)

    def _drop(self, host: str, job: Job, why: Failure) -> None:
        """End a row whose shard waits for it no longer; with the last of a host's last tries, its
        other rows."""
        rest = self._last_of(host, job.shard) if job.last else []
        self._end([job, *rest], why, job.shard.held_since)

    def _end(self, jobs: Sequence[Job], why: Failure, since: float = math.inf) -> None:
        """Rows have failed; that may be the network's doing, where nobody has answered since
        then."""
        if self._may_be_the_network(why) and self.watch.lived_at < since:
            now = asyncio.get_running_loop().time()
            for job in jobs:
                self.watch.hold(now, why, job)
        else:
            self._give_up(jobs, why)

    def try_a_last_time(self, shard: OpenShard) -> None:
        """Where nothing else is left of a shard, or slow hosts alone: ask the hosts that were put
        aside, and give up those that want to be left alone for too long."""
        if not shard.only_parked_are_left and shard.enough is None:
            return
        for host in list(shard.parked):
            if (why := self._queue.alone(host)) and self._asks_too_much(shard, host):
                self._give_up(shard.unpark(host), why)
            elif host in shard.last_tries:
                shard.last_tries[host].rest += shard.unpark(host)
            elif self._queue.aside(host):
                jobs = _each_scheme_first(shard.unpark(host))
                shard.last_tries[host] = LastTry(len(jobs[:LAST_TRIES]), jobs[LAST_TRIES:])
                for job in jobs[:LAST_TRIES]:
                    self._queue.put(host, replace(job, last=True))

    def _asks_too_much(self, shard: OpenShard, host: str) -> bool:
        """Whether the shard would wait for a host's pauses for longer than the deadline, and than
        the host has earned by answers."""
        wait_s = self._queue.seconds_until(host)
        if wait_s <= 0:
            return False
        if self._queue.aside(host):
            return wait_s > self._settings.timeout_s
        now = asyncio.get_running_loop().time()
        since, before = shard.waits.setdefault(host, (now, self._queue.answers(host)))
        patience_s = self._settings.timeout_s + self._queue.earned_s(host, before)
        return now - since + wait_s > patience_s

    def _tell_host(self, host: str, answer: Fetched | Refused | Moved, took_s: float) -> None:
        """Tell the queue what came; move the host's rows where it is to be left alone, or comes
        back."""
        was, was_aside = self._queue.alone(host), self._queue.aside(host)
        self._queue.release(host, heard(answer, took_s))
        now, is_aside = self._queue.alone(host), self._queue.aside(host)
        if now and not was:
            for job in self._queue.withdraw(host):
                self.line_up(job)
        if now and not is_aside:
            self._await_pause(host)
        if is_aside and not was_aside:
            for shard in list(self._shards):
                self.try_a_last_time(shard)
        elif was_aside and not is_aside:
            self._bring_back(host)

    def _await_pause(self, host: str) -> None:
        if host not in self._pausing:
            self._pausing.add(host)
            wait_s = self._queue.seconds_until(host)
            asyncio.get_running_loop().call_later(wait_s, self._end_pause, host)

    def _end_pause(self, host: str) -> None:
        """Line the host's rows up again, where it was not put aside and did not ask for longer."""
        self._pausing.discard(host)
        if not self._queue.alone(host):
            self._bring_back(host)
        elif not self._queue.aside(host):
            self._await_pause(host)

    def _bring_back(self, host: str) -> None:
        for shard in self._shards:
            last = shard.last_tries.get(host)
            for job in shard.unpark(host) + (last.withdraw() if last else []):
                self._queue.put(host, job)

    def _try_again(self, host: str, job: Job, answer: Refused) -> bool:
        """Line a row up once more, where it is worth it: at once where its host pauses by itself,
        else after a while."""
        is_aside = bool(self._queue.aside(host))
        found = None if job.last and is_aside else self._next_try(host, job, answer)
        if found is None:
            return False
        later, wait_s = replace(found[0], last=False, moved=None), found[1]
        if answer.retry_after_s is not None or is_aside:
            self.line_up(later)
        else:
            self._later(later, wait_s, answer.failure, self.line_up)
        return True

    def _later(
        self, job: Job, wait_s: float, failure: Failure, line_up: Callable[[Job], None]
    ) -> None:
        """Line a row up after a while. failure: of its last try."""

        def now() -> None:
            del job.shard.later[job.row]
            line_up(job)

        timer = asyncio.get_running_loop().call_later(wait_s, now)
        job.shard.later[job.row] = Later(timer, job, failure)

    def _last_try_again(self, host: str, job: Job, answer: Refused) -> bool:
        """A last try that failed at once is made as often as that of any row: an outage is
        outlasted. One that took its whole deadline is not."""
        if not (job.last and self._queue.aside(host)):
            return False
        if answer.failure.error == "timeout" or answer.retry_after_s is not None:
            return False
        found = self._next_try(host, job, answer)
        if found is not None:
            self._later(*found, answer.failure, partial(self._queue.put, host))
        return found is not None

    def _next_try(self, host: str, job: Job, answer: Refused) -> tuple[Job, float] | None:
        """The row's next try and the seconds before it; None where there is none to be made.
        Those that find its host gone which may return are no tries of the row."""
        asked_to_wait = answer.retry_after_s is not None
        tries = self._settings.retries * (TRIES_WHEN_ASKED_TO_WAIT if asked_to_wait else 1)
        jitter = self._random.uniform(0.5, 1.5)
        if FAILURES[answer.failure.error].retry and job.tries < tries:
            wait_s = min(BACKOFF_S * 2.0**job.tries, LONGEST_BACKOFF_S) * jitter
            return replace(job, tries=job.tries + 1), wait_s
        since = self._queue.gone_since(host)
        if since is None or not (tries and job.gone_at and found_nobody(answer)):
            return None
        if not job.last and since > job.gone_at:
            return None  # it has answered others meanwhile
        gone_s = asyncio.get_running_loop().time() - since
        # As long again as it has been gone, and once more when the time is over.
        wait_s = min(max(gone_s, BACKOFF_S), _LOOK_S) * jitter
        return job, min(wait_s, OUTAGE_S - gone_s)

    def _end_last_try(self, host: str, shard: OpenShard, answer: Fetched | Refused | Moved) -> None:
        """With the last of its tries a host that stays away takes its other rows along."""
        rest = self._last_of(host, shard)
        if rest and isinstance(answer, Refused):
            self._end(rest, answer.failure)

    def _last_of(self, host: str, shard: OpenShard) -> list[Job]:
        """One of a host's last tries has ended: with the last of them, the shard's other rows."""
        last = shard.last_tries[host]
        last.under_way -= 1
        if last.under_way:
            return []
        del shard.last_tries[host]
        return last.rest


def _each_scheme_first(jobs: list[Job]) -> list[Job]:
    """Rows of a host, one of http and one of https before the others: where one of these does not
    work the other may."""
    first = {(job.url or "").partition(":")[0]: job for job in reversed(jobs)}
    return [*first.values(), *(job for job in jobs if job not in first.values())]


def _too_slow() -> Failure:
    return Failure("timeout", "its host is much slower than others, and the last of its shard")
