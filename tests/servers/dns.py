"""A name server on UDP that answers, fails or keeps silent as it is told."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections import Counter

A, AAAA = 1, 28
NOERROR, SERVFAIL, NXDOMAIN, REFUSED = 0, 2, 3, 5
SILENT = -1


class DnsServer:
    """names: host to addresses (IPv4), or one of the codes above; other names do not exist.

    `hits` counts questions by name (A only, so that a lookup counts once). delay_s: before each
    answer. most: the largest number of questions under way at once. `address` is ADDRESS:PORT.
    """

    def __init__(
        self,
        names: dict[str, list[str] | int],
        ttl_s: int = 300,
        delay_s: float = 0,
        host: str = "127.0.0.1",
    ) -> None:
        self.names, self.ttl_s, self.delay_s, self.host = names, ttl_s, delay_s, host
        self.hits: Counter[str] = Counter()
        self.fail_first: Counter[str] = Counter()  # how many times a name fails before it is well
        self.late_aaaa_s = 0.0  # how much later than others questions for IPv6 are answered
        self.found_after_s: dict[str, float] = {}  # that a name is first asked for; then at once
        self.capacity: int | None = None  # questions at once; what is beyond is dropped
        self.under_way = self.most = 0
        self._found_at: dict[str, float] = {}

    def __enter__(self):
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        assert self._ready.wait(10), "the name server did not start"
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = self

        class Protocol(asyncio.DatagramProtocol):
            def connection_made(self, transport):
                server._transport = transport

            def datagram_received(self, data, peer):
                server._asked(data, peer)

        transport, _ = await self._loop.create_datagram_endpoint(
            Protocol, local_addr=(self.host, 0)
        )
        self.address = "{}:{}".format(*transport.get_extra_info("sockname"))
        self._ready.set()
        await self._stop.wait()
        transport.close()

    def _asked(self, data: bytes, peer) -> None:
        if self.capacity is not None and self.under_way >= self.capacity:
            return
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        name, kind, _ = _question(data)
        found_at = self._found_at.setdefault(
            name, self._loop.time() + self.found_after_s.get(name, 0.0)
        )
        wait_s = max(self.delay_s, found_at - self._loop.time())
        wait_s += self.late_aaaa_s if kind == AAAA else 0.0
        self._loop.call_later(wait_s, self._answer, data, peer)

    def _answer(self, data: bytes, peer) -> None:
        self.under_way -= 1
        name, kind, question = _question(data)
        self.hits[name] += kind == A
        found = self.names.get(name, NXDOMAIN)
        if kind == A and self.fail_first[name] > 0:
            self.fail_first[name] -= 1
            found = SERVFAIL
        if found == SILENT:
            return
        addresses = found if isinstance(found, list) and kind == A else []
        code = found if isinstance(found, int) else NOERROR
        flags = 0x8180 | code
        head = data[:2] + struct.pack(">HHHHH", flags, 1, len(addresses), 0, 0)
        answers = b"".join(
            b"\xc0\x0c" + struct.pack(">HHIH", A, 1, self.ttl_s, 4) + socket.inet_aton(address)
            for address in addresses
        )
        self._transport.sendto(head + question + answers, peer)


def _question(data: bytes) -> tuple[str, int, bytes]:
    """Name, type, and the question section as it came (RFC 1035, 4.1.2)."""
    labels, at = [], 12
    while data[at]:
        labels.append(data[at + 1 : at + 1 + data[at]].decode())
        at += 1 + data[at]
    (kind,) = struct.unpack(">H", data[at + 1 : at + 3])
    return ".".join(labels).lower(), kind, data[12 : at + 5]
