"""The network of one process: while it is gone, nothing is asked for and nothing recorded."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from typing import Any

from coyo_tools.pieces.asking_around import Asked
from coyo_tools.pieces.fetch import Fetcher
from coyo_tools.pieces.outage import Verdict
from coyo_tools.stages.open_shard import Job
from coyo_tools.stages.turns import Turns
from coyo_tools.words.errors import NetworkError
from coyo_tools.words.failures import Failure

_GLANCE_S = 0.2
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 30.0  # between two looks whether it is back


class Vigil:
    """Judges the rows that `turns` holds. give_up: called with rows that are to be recorded with a
    failure. tell: called with an event when an outage begins, and when it ends.

    wait_s: that an outage may last.
    """

    def __init__(
        self,
        turns: Turns,
        fetcher: Fetcher,
        wait_s: float,
        give_up: Callable[[Sequence[Job], Failure], None],
        tell: Callable[[Any], None],
    ) -> None:
        self._turns, self._watch, self._fetcher = turns, turns.watch, fetcher
        self._wait_s, self._give_up, self._tell = wait_s, give_up, tell

    async def keep(self) -> None:
        """Run for ever. Raises NetworkError where an outage lasts too long."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_GLANCE_S)
            self._heed(self._watch.settled())
            asked_at = loop.time()
            if self._watch.has_doubts(asked_at):
                found = await self._ask(self._watch.silent_hosts)
                self._heed(self._watch.judge(asked_at, loop.time(), found))
                if self._watch.gone_since is not None:
                    await self._sit_out(self._watch.gone_since)

    async def _ask(self, hosts: Sequence[str]) -> Asked:
        return await self._fetcher.ask_around(self._watch.witnesses, hosts)

    def _heed(self, verdict: Verdict[Job]) -> None:
        """Record the rows that have failed, and try the others once more."""
        if verdict.unsure:
            self._fetcher.forget_trouble()
        failed = [each for each in verdict.unsure if not self._turns.try_once_more(each)]
        by_failure: dict[Failure, list[Job]] = {}
        for held in verdict.failed + failed:
            by_failure.setdefault(held.failure, []).append(held.row)
        for failure, jobs in by_failure.items():
            self._give_up(jobs, failure)

    async def _sit_out(self, since: float) -> None:
        loop = asyncio.get_running_loop()
        hosts = self._watch.silent_hosts  # before they are lined up again
        self._turns.stand_still()
        self._tell(_event(gone=True))
        wait_s, lived_at = FIRST_WAIT_S, self._watch.lived_at
        while not await self._is_back(wait_s, lived_at, hosts):
            left_s = since + self._wait_s - loop.time()
            if left_s <= 0:
                raise _too_long(self._wait_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S, left_s)
        await self._fetcher.renew()
        lasted_s = self._watch.is_back(loop.time())
        self._turns.go_on()
        self._tell(_event(gone=False, lasted_s=lasted_s))

    async def _is_back(self, wait_s: float, lived_at: float, hosts: Sequence[str]) -> bool:
        """Whether a row under way is answered meanwhile, or anybody who is asked after that.
        lived_at: when somebody answered last."""
        loop = asyncio.get_running_loop()
        until = loop.time() + wait_s
        while (left_s := until - loop.time()) > 0:
            await asyncio.sleep(min(_GLANCE_S, left_s))
            if self._watch.lived_at > lived_at:
                return True
        return (await self._ask(hosts)).answered


def _event(*, gone: bool, lasted_s: float = 0.0) -> dict[str, Any]:
    """What the parent is told."""
    return {"network": {"process": os.getpid(), "gone": gone, "lasted_s": lasted_s}}


def _too_long(wait_s: float) -> NetworkError:
    return NetworkError(
        f"the network has been gone for {wait_s:,.0f} s: neither hosts that answered before nor "
        "name servers can be reached",
        todo="nothing was recorded of the shards under way; run the same command again when it is "
        "back (--network-wait says how long is waited)",
    )
