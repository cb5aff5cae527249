"""How long a shard waits for hosts that are slow: once nothing else is left of it, one deadline.

A host is slow whose answers take much longer than those of most, or from which none has come for
as long (`pieces.pace`). A shard is held up from when the last of its other hosts was done (one
that pauses aside) or the last of those left began to be slow, whichever is later; a deadline after
that their rows are recorded as they are: in line, under way, between two tries, or tried a last
time. Hosts that asked to wait, and those that may be back in a moment, have bounds of their own
(`stages.turns`). A shard of slow hosts alone is not held up by them: they are its work, whatever
urls stand beside theirs for which nothing is sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from coyo_tools.pieces.hosts import HostQueue
from coyo_tools.stages.open_shard import Job, OpenShard

LOOK_S = 0.1  # between two looks which shards are held up


class Stragglers:
    """Watches shards for hosts that hold them up.

    begin: called with a shard that has begun to be held up. end: with one that has been for a
    deadline, since when, and by which hosts.
    """

    def __init__(
        self,
        queue: HostQueue[Job],
        deadline_s: float,
        begin: Callable[[OpenShard], None],
        end: Callable[[OpenShard, float, Iterable[str]], None],
    ) -> None:
        self._queue, self._deadline_s = queue, deadline_s
        self._begin, self._end = begin, end

    def is_done_with(self, shard: OpenShard, host: str) -> None:
        """The last of a host's rows in a shard is known. Where the host is to be left alone, it was
        waited for together with slow ones: their time goes on."""
        if self._queue.slow_since(host) is not None or self._queue.aside(host):
            return
        if shard.others_at is None or not self._queue.alone(host):
            shard.others_at = asyncio.get_running_loop().time()

    def look(self, shard: OpenShard) -> None:
        """See whether a shard is held up."""
        slow = self._slow_hosts(shard)
        since = self._since(shard, slow)
        if since is None:
            self.let_go(shard)
        elif shard.enough is None:
            loop = asyncio.get_running_loop()
            until = since + self._deadline_s
            shard.enough = loop.call_at(until, self._is_enough, shard)
            self._begin(shard)

    def let_go(self, shard: OpenShard) -> None:
        """It is not held up."""
        if shard.enough is not None:
            shard.enough.cancel()
            shard.enough = None

    def _is_enough(self, shard: OpenShard) -> None:
        """Its time is over, where no host has begun to be slow since it was reckoned."""
        shard.enough = None
        slow = self._slow_hosts(shard)
        since = self._since(shard, slow)
        if since is None:
            return
        loop = asyncio.get_running_loop()
        until = since + self._deadline_s
        if until > loop.time():
            shard.enough = loop.call_at(until, self._is_enough, shard)
        else:
            self._end(shard, since, slow)

    def _since(self, shard: OpenShard, slow: dict[str, float]) -> float | None:
        if not slow or shard.others_at is None:
            return None
        return max(shard.others_at, *slow.values())

    def _slow_hosts(self, shard: OpenShard) -> dict[str, float]:
        """Those that it waits for, and since when they are slow; none where it waits for others as
        well."""
        slow: dict[str, float] = {}
        for host in shard.asked:
            if host in shard.parked:
                continue
            since = self._queue.slow_since(host)
            if since is not None:
                slow[host] = since
            elif host not in shard.last_tries and self._queue.gone_since(host) is None:
                return {}
        return slow
