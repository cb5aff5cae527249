"""Shards out of rows: fetch, decode, pack. One asyncio loop a process, pixels in threads.

A worker takes the next shard while the last rows of the ones before are still on their way, so
that connections never idle and a straggler holds nobody up.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coyo_tools.machinery import open_files, resting
from coyo_tools.machinery.growing_pool import GrowingPool
from coyo_tools.pieces.blocklist import BlockList
from coyo_tools.pieces.hosts import host_of
from coyo_tools.pieces.rows import Outcome
from coyo_tools.pieces.tally import Tally
from coyo_tools.stages.open_shard import Job, OpenShard, ShardUnit
from coyo_tools.stages.packing import outcomes_of, pack, publish
from coyo_tools.words.config import DownloadSettings
from coyo_tools.words.errors import CoyoError
from coyo_tools.words.failures import Failure

if TYPE_CHECKING:
    from coyo_tools.pieces.careful import CarefulDecoder
    from coyo_tools.pieces.fetch import Fetched, Fetcher, Moved, Refused
    from coyo_tools.stages.outages import Vigil

OPEN_SHARDS = 8  # a worker's shards under way at once; more than one only for stragglers
_GLANCE_S = 0.1  # how often a shard looks whether another one that it needs is done
_TELL_S = 0.5  # between two progress events
_LENT = "lent"  # the folder in which processes lend decoders
_LOOK_S = 0.05  # between two looks for some
# For how long answers gather where so many pictures wait for each thread, which decodes 2 to 6.
_REST_S, _WAITING = 0.02, 8

Emit = Callable[[Any], None]


@dataclass(frozen=True)
class Download:
    """The work over shards. todo: numbers of all shards this run makes, by any worker.

    scratch: a local folder that all workers share, in which they leave marks. threads: that
    decode, in each process; for others where it has no rows left. census: keep what became of
    the rows, and no pictures. processes: that share the cores, and what a host bears.
    """

    settings: DownloadSettings
    out: str
    scratch: str
    todo: frozenset[int]
    blocked: BlockList
    threads: int
    census: bool = False
    processes: int = 1

    def __call__(
        self, units: Iterator[ShardUnit], emit: Emit
    ) -> Iterator[tuple[ShardUnit, dict[str, Any]]]:
        """Yield each shard's unit with its stats, as they are finished."""
        open_files.allow(self.settings.connections + open_files.BESIDE)
        results: queue.SimpleQueue[Any] = queue.SimpleQueue()
        line = _Line(self, units, emit, results.put)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\.")  # broken EXIF and the like
            thread = threading.Thread(target=line.run_thread, name="download")
            thread.start()
            try:
                while (item := results.get()) is not None:
                    if isinstance(item, BaseException):
                        raise item
                    yield item
            finally:
                line.cancel()
                thread.join()
            self._lend()

    def _lend(self) -> None:
        """Decode for the processes that have rows left, until none has."""
        from coyo_tools.pieces.lending import Lender

        if self.processes > 1:
            left = set(self.todo)
            lender = Lender(Path(self.scratch) / _LENT, self.settings, self.threads)
            lender.serve(lambda: self._all_are_done(left))

    def is_done(self, number: int) -> bool:
        """Whether a shard of this run is there, by whatever process."""
        return (Path(self.scratch) / f"done-{number}").exists()

    def _all_are_done(self, left: set[int]) -> bool:
        """left: of the shards, which is made smaller."""
        while left:
            number = next(iter(left))
            if not self.is_done(number):
                return False
            left.remove(number)
        return True


class _Timed:
    """A fetcher, and how long each host takes."""

    def __init__(self, fetcher: Fetcher, tally: Tally) -> None:
        self._fetcher, self._tally = fetcher, tally

    async def fetch(self, job: Job) -> Fetched | Refused | Moved:
        """What the fetcher gets for a row from one host."""
        started = time.monotonic()
        try:
            return await self._fetcher.fetch_here(job.shard.rows.urls[job.row], job.moved)
        finally:
            self._tally.asked(host_of(job.url), time.monotonic() - started)


class _Line:
    """One worker's loop: a feeder, connections, and threads for pixels."""

    def __init__(
        self, work: Download, units: Iterator[ShardUnit], emit: Emit, give: Callable[[Any], None]
    ) -> None:
        self._work, self._settings = work, work.settings
        self._units, self._emit, self._give = units, emit, give
        self._tally = Tally()
        self._selector = resting.RestingSelector()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main: asyncio.Task[None] | None = None
        self._open = 0

    def run_thread(self) -> None:
        """Run the loop in this thread; results, an error, and at last None are given."""
        try:
            resting.run(self._run(), self._selector)
        except asyncio.CancelledError:
            pass
        except BaseExceptionGroup as group:
            self._give(_first(group))
        except Exception as error:  # noqa: BLE001  raised again in the worker's main thread
            self._give(error)
        self._give(None)

    def cancel(self) -> None:
        """End early, from another thread."""
        if self._loop is not None and self._main is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended by itself
                self._loop.call_soon_threadsafe(self._main.cancel)

    async def _run(self) -> None:
        from coyo_tools.pieces.fetch import Fetcher
        from coyo_tools.pieces.lending import Borrower
        from coyo_tools.stages.outages import Vigil
        from coyo_tools.stages.turns import Turns

        self._loop, self._main = asyncio.get_running_loop(), asyncio.current_task()
        self._alive: set[OpenShard] = set()
        self._turns = Turns(self._settings, self._work.processes, self._alive, self._give_up)
        self._room = asyncio.Semaphore(OPEN_SHARDS)
        self._idle = asyncio.Event()
        self._idle.set()
        threads = self._work.threads
        self._decoders = GrowingPool(threads, "decode")
        self._selector.rest_s = self._rest_s
        self._lent = Borrower(Path(self._work.scratch) / _LENT, self._settings, threads)
        self._files = ThreadPoolExecutor(2, thread_name_prefix="files")
        self._asking = ThreadPoolExecutor(1, thread_name_prefix="units")
        self._careful: CarefulDecoder | None = None
        try:
            async with Fetcher(self._settings, self._work.blocked) as fetcher:
                self._fetcher = _Timed(fetcher, self._tally)
                wait_s = self._settings.network_wait_s
                vigil = Vigil(self._turns, fetcher, wait_s, self._give_up, self._emit)
                await self._all_tasks(vigil)
        finally:
            self._end()

    def _rest_s(self) -> float:
        """For how long answers may gather: where pictures wait to be decoded, they do not hurry."""
        enough = _WAITING * self._decoders.threads
        return _REST_S if self._decoders.waiting >= enough else 0.0

    async def _all_tasks(self, vigil: Vigil) -> None:
        beside = [
            asyncio.create_task(each)
            for each in (self._tell(), self._borrow(), self._turns.look_out())
        ]
        try:
            async with asyncio.TaskGroup() as self._group:
                for _ in range(self._settings.connections):
                    self._group.create_task(self._connection())
                self._group.create_task(self._feed(self._group.create_task(vigil.keep())))
        finally:
            for task in beside:
                task.cancel()
        self._tell_now()

    def _end(self) -> None:
        """Let threads go and leave nothing half-written behind."""
        for pool in (self._decoders, self._files):
            pool.shutdown(wait=True, cancel_futures=True)
        self._asking.shutdown(wait=False, cancel_futures=True)
        self._lent.close()
        for shard in self._alive:
            shard.writer.abort()
        if self._careful is not None:
            self._careful.close()

    async def _feed(self, vigil: asyncio.Task[None]) -> None:
        """Take shards as long as there are any, and line up their rows; end the vigil."""
        loop = asyncio.get_running_loop()
        while True:
            await self._room.acquire()
            unit = await loop.run_in_executor(self._asking, next, self._units, None)
            if unit is None:
                break
            shard = await loop.run_in_executor(self._files, self._begin, unit)
            self._alive.add(shard)
            self._idle.clear()
            if shard.elsewhere:
                self._group.create_task(self._copy(shard))
            for row in shard.fetch:
                self._turns.line_up(Job(shard, row))
            await self._finish_if_done(shard)
            await self._turns.wants_more()
        await self._idle.wait()
        self._turns.close()
        vigil.cancel()

    def _begin(self, unit: ShardUnit) -> OpenShard:
        """Open the shard; carefully, where a worker died while it was open before."""
        from coyo_tools.pieces.careful import CarefulDecoder

        mark = Path(self._work.scratch) / f"open-{unit.number}"
        careful = None
        if mark.exists():
            self._careful = careful = self._careful or CarefulDecoder(self._settings)
        mark.touch()
        return OpenShard(
            unit,
            self._work.out,
            with_phash=self._settings.verify_phash,
            careful=careful,
            census=self._work.census,
        )

    async def _connection(self) -> None:
        """One of the connections: fetch the next row whose host may be asked."""
        while (taken := await self._turns.take()) is not None:
            host, job = taken
            outages, started = self._turns.watch.outages, time.monotonic()
            answer = await self._fetch(job)
            if answer is None:
                self._turns.hear_no_more(host, job, outages)
                continue
            took_s = time.monotonic() - started
            result = self._turns.hear(host, job, answer, outages, took_s)
            if result is not None:
                await self._add(job.shard, job.row, result)

    async def _fetch(self, job: Job) -> Fetched | Refused | Moved | None:
        """None where it was cut short: its shard waits for it no longer."""
        from coyo_tools.pieces.fetch import Refused

        under_way = job.shard.under_way
        try:
            async with asyncio.timeout(None) as bound:
                under_way[job.row] = bound
                try:
                    return await self._fetcher.fetch(job)
                finally:
                    del under_way[job.row]
        except Exception as error:  # noqa: BLE001  one url must not end a run of days
            if bound.expired():
                return None
            return Refused(Failure("internal", type(error).__name__))

    def _give_up(self, jobs: Sequence[Job], why: Failure) -> None:
        """Record rows whose host is gone, without asking for them."""

        async def record() -> None:
            for job in jobs:
                await self._add(job.shard, job.row, why)

        self._group.create_task(record())

    async def _add(self, shard: OpenShard, row: int, result: bytes | Failure | Outcome) -> None:
        """Decode and write a row in a thread; publish the shard with its last row."""
        self._turns.answered(shard, row)
        packed = partial(pack, shard, row, result, self._settings, self._work.blocked, self._lent)
        rows, outcome = await self._decoders.run(packed)
        error = outcome.failure.error if outcome.failure else None
        self._tally.add(rows, error, outcome.fetched_bytes)
        await self._finish_if_done(shard)

    async def _finish_if_done(self, shard: OpenShard) -> None:
        self._turns.try_a_last_time(shard)
        if shard.left or shard not in self._alive:
            return
        self._alive.remove(shard)
        loop = asyncio.get_running_loop()
        stats = await loop.run_in_executor(
            self._files, publish, shard, self._work.out, self._work.scratch
        )
        self._tell_now()
        self._give((shard.unit, stats))
        self._room.release()
        if not self._alive:
            self._idle.set()

    async def _copy(self, shard: OpenShard) -> None:
        """Rows whose url an earlier shard has: take over what came of it there."""
        loop = asyncio.get_running_loop()
        by_owner: dict[int, dict[int, int]] = {}
        for row, owner in shard.elsewhere.items():
            number, at = divmod(owner, self._settings.samples_per_shard)
            by_owner.setdefault(number, {})[row] = at
        for number, wanted in sorted(by_owner.items()):
            while not self._is_done(number):  # noqa: ASYNC110  another process makes it
                await asyncio.sleep(_GLANCE_S)
            found = await loop.run_in_executor(
                self._files, outcomes_of, self._work.out, number, wanted
            )
            for row in wanted:
                url, outcome = found[row]
                if url == shard.rows.urls[row]:
                    await self._add(shard, row, outcome)
                else:  # equal hashes of different urls
                    self._turns.line_up(Job(shard, row))

    def _is_done(self, number: int) -> bool:
        return number not in self._work.todo or self._work.is_done(number)

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(_TELL_S)
            self._tell_now()

    async def _borrow(self) -> None:
        """Decode in as many threads more as other processes lend decoders."""
        while True:
            await asyncio.sleep(_LOOK_S)
            self._decoders.grow(self._lent.look())

    def _tell_now(self) -> None:
        if (news := self._tally.take()) is not None:
            self._emit(news)


def _first(group: BaseExceptionGroup[Any]) -> BaseException:
    """The error to tell of several: a named one where there is one."""
    flat: list[BaseException] = []
    for error in group.exceptions:
        flat.append(_first(error) if isinstance(error, BaseExceptionGroup) else error)
    return next((e for e in flat if isinstance(e, CoyoError)), flat[0])
