"""The loop and the connections with which `machinery.web` fetches."""

from __future__ import annotations

import atexit
import functools
import os
import threading
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import aiohttp

Result = TypeVar("Result")


class Connections:
    """An event loop in a thread, and the connections that all runs of this process keep."""

    def __init__(self) -> None:
        import asyncio  # here and below: a run on local files has no use for it

        self._loop = asyncio.new_event_loop()
        self._session: aiohttp.ClientSession | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="coyo-web")
        self._thread.start()
        atexit.register(self.close)

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Its result, waited for from another thread; interrupted here, it is cancelled there."""
        import asyncio

        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    async def session(self) -> aiohttp.ClientSession:
        """The session; made in the loop on first use."""
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),  # `Traffic.turn` limits each run
                requote_redirect_url=False,  # a signed address is spoilt by quoting it anew
                trust_env=True,  # proxies
                read_bufsize=1 << 18,
            )
        return self._session

    def close(self) -> None:
        """Close the connections and end the thread."""
        atexit.unregister(self.close)
        if self._thread.is_alive():  # it is not after a fork
            self.run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    async def _end(self) -> None:
        """Done in the loop, so that a session that an interrupted run is just making is seen."""
        import asyncio

        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        if self._session is not None:
            await self._session.close()


_making = threading.Lock()  # `cache` alone would let two threads make one each


def connections() -> Connections:
    """Those of this process."""
    with _making:
        return _of_process(os.getpid())


@functools.cache
def _of_process(_: int) -> Connections:
    """One a process: a thread does not survive a fork."""
    return Connections()


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """What the work gives, done in the loop; raises the first of what it raised."""
    try:
        return connections().run(work)
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from group
