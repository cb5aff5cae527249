"""The servers of the hostile cases, and names that lead to them.

One address, OUTSIDE, stands for the internet: for the length of a test it counts as public, and
everything else is judged as ever. What listens on the loopback addresses beside it must never be
reached.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from coyo_tools.pieces import addresses
from coyo_tools.pieces.resolver import NoAnswer, NoSuchHost
from tests.hostile.answers import body, redirect
from tests.hostile.pictures import jpeg
from tests.servers.raw import Behaviour, RawServer, sends

OUTSIDE = "127.9.9.9"
INSIDE = ("127.0.0.1", "::1")
HOST = "img.example"

# What a name resolves to: at the first lookup, the second ...; the last answer stays.
NAMES: dict[str, list[list[str]]] = {
    HOST: [[OUTSIDE]],
    "other.example": [[OUTSIDE]],
    "inside.example": [["127.0.0.1"]],
    "inside6.example": [["::1"]],
    "mapped.example": [["::ffff:127.0.0.1"]],
    "office.example": [["10.1.2.3"]],
    "cloud.example": [["169.254.169.254"]],
    "many.example": [["127.0.0.1", "10.0.0.1", "::1", "192.168.0.1"]],
    "rebinds.example": [[OUTSIDE], ["127.0.0.1"]],
    "localhost": [["127.0.0.1", "::1"]],
    "a.localhost": [["127.0.0.1"]],
}


class Names(AbstractResolver):
    """Answers out of NAMES; unknown names do not exist, and `silent.example` gets no answer."""

    def __init__(self, *_: object) -> None:
        self._asked: Counter[str] = Counter()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        if host == "silent.example":
            raise NoAnswer
        if host not in NAMES:
            raise NoSuchHost
        answers = NAMES[host]
        found = answers[min(self._asked[host], len(answers) - 1)]
        self._asked[host] += 1
        return [
            ResolveResult(
                hostname=host, host=address, port=port, proto=socket.IPPROTO_TCP,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in found
        ]  # fmt: skip

    def known(self, host: str) -> list[str]:
        return NAMES.get(host, [[]])[-1]

    async def has_word_of(self, name: str) -> bool:
        return True

    def forget_silence(self) -> None:
        pass

    async def close(self) -> None:
        pass


class World:
    """Listeners at OUTSIDE, one a kind of harm, each on its own port, and nothing else to reach.

    routes: path to behaviour, of the plain listener. targets: name to the template of a url, to
    which `/hop/N/NAME` leads by N redirects.
    """

    def __init__(
        self, routes: Mapping[str, Behaviour], targets: Mapping[str, str], folder: Path
    ) -> None:
        self._folder, self._targets = folder, targets
        self._plain = _Redirecting(dict(routes), OUTSIDE)
        self._inside = [_Redirecting(dict(routes), address) for address in INSIDE]
        self.authority = Authority(folder)

    def __enter__(self) -> World:
        self._stack = contextlib.ExitStack()
        self._stack.enter_context(self._plain)
        port = int(self._plain.base_url.rsplit(":", 1)[1])
        for server in self._inside:
            server.port = port
            self._stack.enter_context(server)
        self._listeners = self._stack.enter_context(_Listeners(self._behaviours()))
        self.ports = {"port": port, **self._listeners.ports}
        self._plain.targets = {name: self.url(target) for name, target in self._targets.items()}
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def reached_inside(self) -> int:
        """Connections and requests at addresses that are not public."""
        return sum(server.connections for server in self._inside)

    def url(self, template: str) -> str:
        """A case's url: `{port}` and the names of other listeners filled in."""
        return template.format(**self.ports)

    def _behaviours(self) -> dict[str, tuple[Behaviour, ssl.SSLContext | None]]:
        sound = self.authority.context(HOST)
        yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
        return {
            "tls": (_answers, sound),
            "expired": (_answers, self.authority.context(HOST, until=yesterday)),
            "wrong_host": (_answers, self.authority.context("elsewhere.example")),
            "self_signed": (_answers, Authority(self._folder).context(HOST)),
            "old_tls": (_too_old, None),
            "unanswered": (_silent, None),
            "plain": (_refuses, None),
            "garbage_hello": (_says(b"\x16\x03\x03\x00\x05hello" * 9), None),
            "slow_hello": (_drips_hello, None),
            "half_hello": (_says(b"\x16\x03\x03\x40\x00"), None),
            "hangs_up": (_says(b""), None),
            "half_closed": (_half_closed, None),
            "uncalled": (_uncalled, None),
        }


class _Redirecting(RawServer):
    """A raw server that also redirects, and counts connections."""

    def __init__(self, routes: dict[str, Behaviour], address: str) -> None:
        super().__init__(routes, address=address)
        self.connections = 0
        self.targets: dict[str, str] = {}

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        await super()._connected(reader, writer)

    def route(self, path: str) -> Behaviour:
        if not path.startswith("/hop/"):
            return self.routes.get(path, sends(body(b"", status="404 Not Found")))
        left, name = path.removeprefix("/hop/").split("/")
        last = int(left) == 1
        return sends(redirect(self.targets[name] if last else f"/hop/{int(left) - 1}/{name}"))


class _Listeners:
    """Plain and TLS listeners at OUTSIDE whose behaviour begins with the connection."""

    def __init__(self, behaviours: Mapping[str, tuple[Behaviour, ssl.SSLContext | None]]) -> None:
        self._behaviours = behaviours
        self.ports: dict[str, int] = {}

    def __enter__(self) -> _Listeners:
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        assert self._ready.wait(10), "the listeners did not start"
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        # Handshakes that fail are what is tested: the server's side of them is no news.
        self._loop.set_exception_handler(lambda *_: None)
        self._tasks: set[asyncio.Task] = set()
        servers = []
        for name, (behave, context) in self._behaviours.items():
            server = await asyncio.start_server(self._runs(behave), OUTSIDE, 0, ssl=context)
            self.ports[name] = server.sockets[0].getsockname()[1]
            servers.append(server)
        self._ready.set()
        await self._stop.wait()
        for server in servers:
            server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _runs(self, behave: Behaviour):
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._tasks.add(task)
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await behave(reader, writer)
            self._tasks.discard(task)
            writer.close()

        return connected


async def _answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A picture for any request."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(body(jpeg()))
    await writer.drain()


async def _refuses(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """As nginx answers TLS on a plain port."""
    await reader.read(5)
    writer.write(body(b"", status="400 Bad Request"))
    await writer.drain()


async def _silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


def _says(data: bytes) -> Behaviour:
    async def behave(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()

    return behave


async def _too_old(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The alert that a server of TLS 1.0 has for newer ones: protocol_version (RFC 5246, 7.2)."""
    await reader.read(5)
    await _says(b"\x15\x03\x01\x00\x02\x02\x46")(reader, writer)


async def _drips_hello(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A TLS record of 16 KiB, a byte at a time."""
    writer.write(b"\x16\x03\x03\x40\x00\x02")
    for _ in range(10_000):
        await asyncio.sleep(0.05)
        writer.write(b"\x00")
        await writer.drain()


async def _half_closed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Ends its own side at once and goes on listening."""
    writer.write_eof()
    await reader.read()


async def _uncalled(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An answer before anything was asked."""
    await _says(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")(reader, writer)
    await asyncio.sleep(0.05)


class Authority:
    """Vouches for certificates; each is one key, its name and its dates."""

    def __init__(self, folder: Path) -> None:
        from cryptography.hazmat.primitives.asymmetric import ec

        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._own = self._signed("test authority", self._key.public_key(), None)

    def trusting(self) -> ssl.SSLContext:
        """A client's context that trusts this authority alone."""
        from cryptography.hazmat.primitives.serialization import Encoding

        return ssl.create_default_context(cadata=self._own.public_bytes(Encoding.PEM).decode())

    def context(self, host: str, until: datetime.datetime | None = None) -> ssl.SSLContext:
        """A server's context with a certificate for the host."""
        from cryptography.hazmat.primitives import serialization as forms
        from cryptography.hazmat.primitives.asymmetric import ec

        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._signed(host, key.public_key(), until)
        plain = forms.NoEncryption()
        path = self._folder / f"{id(certificate)}.pem"
        path.write_bytes(
            key.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, plain)
            + certificate.public_bytes(forms.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context

    def _signed(self, host: str, key, until: datetime.datetime | None):
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes

        now = datetime.datetime.now(datetime.UTC)

        def name(text: str) -> x509.Name:
            return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

        own = key == self._key.public_key()
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(host))
            .issuer_name(name("test authority"))
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=9))
            .not_valid_after(until or now + datetime.timedelta(days=9))
            .add_extension(x509.BasicConstraints(ca=own, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        )
        return builder.sign(self._key, hashes.SHA256())


@contextlib.contextmanager
def outside_is_public(monkeypatch: pytest.MonkeyPatch, authority: Authority) -> Iterator[None]:
    """OUTSIDE counts as public, names are NAMES, and the authority is trusted."""
    judged = addresses.is_public
    with monkeypatch.context() as patch:
        patch.setattr(addresses, "is_public", lambda text: text == OUTSIDE or judged(text))
        patch.setattr("coyo_tools.pieces.fetch.Resolver", Names)
        # aiohttp has no public way to set what its default context trusts.
        patch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", authority.trusting())
        yield
