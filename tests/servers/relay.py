"""A cable between a client and a server, which can be pulled."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine
from typing import Any


class Relay:
    """Passes bytes on to a server at this address. `base_url` stays the same throughout."""

    def __init__(self, port: int) -> None:
        self._server_port, self.port = port, 0

    def __enter__(self) -> Relay:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._tasks: set[asyncio.Task] = set()
        self._open: set[asyncio.StreamWriter] = set()
        self._do(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self.pull()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def reset(self) -> int:
        """Reset every connection; new ones are taken. Gives how many there were."""
        return self._do(self._reset())

    def pull(self) -> None:
        """Reset every connection and refuse new ones."""
        self._do(self._pull())

    def mend(self) -> None:
        """Take connections again, on the same port."""
        self._do(self._listen())

    def _do(self, what: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(10)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _pull(self) -> None:
        self._server.close()
        await self._reset()

    async def _reset(self) -> int:
        count = len(self._open)
        for writer in self._open:
            sock = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        return count

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._open.add(writer)
        try:
            inner, outer = await asyncio.open_connection("127.0.0.1", self._server_port)
            async with asyncio.TaskGroup() as both:
                both.create_task(_pass_on(reader, outer))
                both.create_task(_pass_on(inner, writer))
        except (OSError, asyncio.CancelledError, ExceptionGroup):
            pass
        finally:
            with contextlib.suppress(NameError):
                outer.close()
            writer.close()
            self._open.discard(writer)
            self._tasks.discard(task)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.close()
