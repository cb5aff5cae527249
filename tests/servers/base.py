"""A web application in a thread of its own, for as long as a `with` block lasts."""

from __future__ import annotations

import asyncio
import threading

from aiohttp import web


class ThreadedServer:
    """Serves `app()` on a free port. `base_url` has no slash at its end."""

    base_url: str

    def app(self) -> web.Application:
        raise NotImplementedError

    def __enter__(self):
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        assert self._ready.wait(10), "the server did not start"
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._run())
        self._loop.close()

    async def _run(self) -> None:
        self._stop = asyncio.Event()
        runner = web.AppRunner(self.app(), access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]
        self.base_url = f"http://127.0.0.1:{port}"
        self._ready.set()
        await self._stop.wait()
        await end(runner)


async def end(runner: web.AppRunner) -> None:
    """Stop serving."""
    await runner.cleanup()
    late = asyncio.all_tasks() - {asyncio.current_task()}  # answers that nobody waits for
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)
