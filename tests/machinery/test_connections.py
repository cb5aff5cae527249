"""One loop and one pool of connections a process."""

from __future__ import annotations

import asyncio
import threading
import time

from coyo_tools.machinery import connections


def test_threads_that_start_together_share_one_loop(monkeypatch):
    made = []
    real = connections.Connections

    def slow():
        time.sleep(0.1)
        made.append(real())
        return made[-1]

    connections._of_process.cache_clear()
    monkeypatch.setattr(connections, "Connections", slow)
    threads = [threading.Thread(target=connections.connections) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1


def test_a_session_that_is_made_while_they_are_closed_is_closed_too():
    ours, begun = connections.Connections(), threading.Event()

    async def late():
        begun.set()
        time.sleep(0.3)  # noqa: ASYNC251  as the import of aiohttp holds the loop
        await ours.session()
        await asyncio.sleep(60)

    work = asyncio.run_coroutine_threadsafe(late(), ours._loop)
    begun.wait()
    work.cancel()
    ours.close()
    assert ours._session.closed
