"""One shard on its way: which of its rows are fetched, and which take over from others."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from coyo_tools.machinery.storage import folder_at
from coyo_tools.pieces import shards
from coyo_tools.pieces.census_parts import CensusWriter
from coyo_tools.pieces.rows import Outcome, Rows
from coyo_tools.words.failures import FAILURES, SUCCESS, Failure

if TYPE_CHECKING:
    import asyncio

    from coyo_tools.pieces.careful import CarefulDecoder
    from coyo_tools.pieces.fetch import Moved


@dataclass(frozen=True)
class Job:
    """A row to fetch. tries: how many there have been. last: its host was put aside, and this
    try decides over all rows of the shard that are the host's. moved: where a redirect led.
    gone_at: when its host first was silent to it, on the loop's clock. spared: it has failed, and
    was tried once more, as an outage may have been why."""

    shard: OpenShard
    row: int
    tries: int = 0
    last: bool = False
    moved: Moved | None = None
    gone_at: float | None = None
    spared: bool = False

    @property
    def url(self) -> str | None:
        """What is to be asked for now."""
        return self.moved.url if self.moved else self.shard.rows.urls[self.row]


@dataclass(eq=False)
class LastTry:
    """A host of a shard that is asked once more. under_way: tries; rest: the rows that wait for
    what comes of them."""

    under_way: int
    rest: list[Job]

    def withdraw(self) -> list[Job]:
        """The rows that waited, which then do no more."""
        rest, self.rest = self.rest, []
        return rest


@dataclass(frozen=True)
class Later:
    """A row that is tried again when its timer ends. failure: of the try before."""

    timer: asyncio.TimerHandle
    job: Job
    failure: Failure


@dataclass(frozen=True, eq=False)
class ShardUnit:
    """One shard to make. first_row: number of its first row in the whole input.

    table: its rows under the shard's column names, as an arrow IPC stream. repeats: row in the
    shard to the first row of the whole input that has the same url. again: the shard is there,
    and rows worth it are fetched again. attempt: counts from 1.
    """

    number: int
    first_row: int
    table: bytes = field(repr=False)
    repeats: Mapping[int, int] = field(default_factory=dict, repr=False)
    again: bool = False
    attempt: int = 1


class OpenShard:
    """A shard under way: what is left of it, and which rows wait for which."""

    def __init__(
        self,
        unit: ShardUnit,
        out: str,
        *,
        with_phash: bool,
        careful: CarefulDecoder | None,
        census: bool = False,
    ) -> None:
        import pyarrow as pa

        self.unit, self.careful = unit, careful
        table = pa.ipc.open_stream(unit.table).read_all()
        self.rows = Rows(table, with_phash=with_phash)
        suffix = shards.NEXT if unit.again else ""
        folder = folder_at(out)
        self.writer: shards.ShardWriter | CensusWriter
        if census:
            self.writer = CensusWriter(folder, unit.number, self.rows)
        else:
            self.writer = shards.ShardWriter(folder, unit.number, self.rows, suffix=suffix)
        self.started_at = time.time()
        self.lock = threading.Lock()
        self.left = len(self.rows)
        self.followers: dict[int, list[int]] = {}
        self.elsewhere: dict[int, int] = {}
        self.fetch: list[int] = []
        self.parked: dict[str, list[Job]] = {}  # by host, of those to be left alone
        # Hosts that asked to wait when nothing else was left: since when, and answers before.
        self.waits: dict[str, tuple[float, int]] = {}
        self.last_tries: dict[str, LastTry] = {}
        self.asked: dict[str, int] = {}  # how many rows without an outcome each host is asked for
        self._asked_of: dict[int, str] = {}
        self.sent_to: set[str] = set()  # hosts to which anything was sent for it
        self.under_way: dict[int, asyncio.Timeout] = {}  # rows, and what cuts them short
        self.later: dict[int, Later] = {}
        # See `stages.stragglers`. When the last of its hosts that are not slow was done; while it
        # is held up, when that will have been for long enough. Then: hosts that were too slow for
        # it, why their rows ended, and since when they had held it up.
        self.others_at: float | None = None
        self.enough: asyncio.TimerHandle | None = None
        self.given_up: dict[str, Failure] = {}
        self.held_since = math.inf
        self._parked_rows = 0
        kept = _keep(self, out) if unit.again else set()
        self._sort_rows(kept)

    def _sort_rows(self, kept: set[int]) -> None:
        """Who is fetched, who follows a row of this shard, who one of another shard."""
        first_row = self.unit.first_row
        for row in range(len(self.rows)):
            if row in kept:
                continue
            owner = self.unit.repeats.get(row, first_row + row)
            if owner < first_row:
                self.elsewhere[row] = owner
            elif owner != first_row + row and self._same(row, owner - first_row, kept):
                self.followers.setdefault(owner - first_row, []).append(row)
            else:
                self.fetch.append(row)

    def _same(self, row: int, owner: int, kept: set[int]) -> bool:
        """Equal hashes are not yet equal urls; and a row that is not fetched leads nobody."""
        return self.rows.urls[row] == self.rows.urls[owner] and owner not in kept

    def ask(self, host: str, row: int) -> None:
        """A row is to be asked of this host, and no longer of another."""
        if self._asked_of.get(row) != host:
            self.answered(row)
            self._asked_of[row] = host
            self.asked[host] = self.asked.get(host, 0) + 1

    def answered(self, row: int) -> str | None:
        """What becomes of a row is known; gives its host where no other row of it is left."""
        host = self._asked_of.pop(row, None)
        if host is None:
            return None
        self.asked[host] -= 1
        if self.asked[host]:
            return None
        del self.asked[host]
        return host

    def rows_of(self, host: str) -> list[int]:
        """The rows without an outcome that a host is asked for."""
        return [row for row, asked_of in self._asked_of.items() if asked_of == host]

    def park(self, host: str, job: Job) -> None:
        """Keep a row until its host is asked again."""
        self.parked.setdefault(host, []).append(job)
        self._parked_rows += self._weight(job)

    def unpark(self, host: str) -> list[Job]:
        """Give back the rows of a host that were kept."""
        jobs = self.parked.pop(host, [])
        self._parked_rows -= sum(map(self._weight, jobs))
        return jobs

    @property
    def only_parked_are_left(self) -> bool:
        """Whether the shard would be done but for rows of hosts that are to be left alone."""
        return 0 < self.left == self._parked_rows

    def _weight(self, job: Job) -> int:
        """Rows that are done with this one."""
        return 1 + len(self.followers.get(job.row, ()))

    def add(self, row: int, outcome: Outcome) -> int:
        """Write a row and those that follow it; gives the number of rows."""
        group = [row, *self.followers.get(row, ())]
        for each in group:
            self.writer.add(each, outcome)
        with self.lock:
            self.left -= len(group)
        return len(group)


def _keep(shard: OpenShard, out: str) -> set[int]:
    """Copy from the shard as it is what need not be fetched again; gives those rows."""
    old = shards.open_shard(folder_at(out), shard.unit.number)
    nth = old.nth_success()
    records = old.table.select(list(shard.rows.own_names)).to_pylist()
    kept = set()
    with old.tar() as handle:
        for row, own in enumerate(records):
            if own["status"] == SUCCESS:
                shard.writer.add_blob(row, own, old.blob(handle, int(nth[row])))
            elif not FAILURES[own["error"]].retry:
                shard.writer.add_blob(row, own, b"")
            else:
                continue
            kept.add(row)
    shard.left -= len(kept)
    return kept
