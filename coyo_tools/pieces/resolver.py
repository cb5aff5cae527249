"""DNS within the process: threads of its own, so that lookups do not wait for other work, and a
memory for names that do not resolve. What resolves is remembered by the connector."""

from __future__ import annotations

import asyncio
import socket
import time
from concurrent.futures import ThreadPoolExecutor

from aiohttp.abc import AbstractResolver, ResolveResult

_Found = tuple[int, int, int, str, tuple[str, int]]  # getaddrinfo's answer
_AT_ONCE = 64
_REMEMBER_S = 60.0
_REMEMBERED = 100_000


class Resolver(AbstractResolver):
    """getaddrinfo, 64 at once. Raises OSError as the connector expects it."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="dns")
        self._unknown: dict[str, float] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Every address of a host."""
        if self._unknown.get(host, 0.0) > time.monotonic():
            raise OSError(None, "host name does not resolve")
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(self._pool, self._look_up, host, port, family)
        except socket.gaierror:
            self._remember(host)
            raise
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=int(address[1]),
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, protocol, _, address in found
        ]

    @staticmethod
    def _look_up(
        host: str, port: int, family: int
    ) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        found = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, family=family, flags=socket.AI_ADDRCONFIG
        )
        # A third element of an IPv6 address is its flow, a fourth its scope: never needed here.
        return [(f, k, p, c, (str(a[0]), int(a[1]))) for f, k, p, c, a in found]

    def _remember(self, host: str) -> None:
        if len(self._unknown) >= _REMEMBERED:
            self._unknown.clear()
        self._unknown[host] = time.monotonic() + _REMEMBER_S

    async def close(self) -> None:
        """Let go of the threads; one that still asks ends by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)
