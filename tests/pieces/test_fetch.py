"""One url against servers that misbehave in every way: each has its class, none outlasts the
deadline."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import time
import zlib
from contextlib import contextmanager

import pytest

from coyo_tools.pieces import blocklist
from coyo_tools.pieces.fetch import (
    LONGEST_RETRY_AFTER_S,
    Fetched,
    Fetcher,
    Refused,
    parse_url,
    user_agent,
)
from coyo_tools.pieces.resolver import _Known
from coyo_tools.words.config import DownloadSettings
from coyo_tools.words.errors import SettingsError
from coyo_tools.words.failures import FAILURES, Failure
from tests.servers.raw import RawServer, drips, resets, sends, stays_silent

OK = b"HTTP/1.1 200 OK\r\n"
DEADLINE_S = 1.0
MAX_BYTES = 100_000


def body(data: bytes, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(data)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + data


def redirect(location: str) -> bytes:
    return body(b"", f"Location: {location}", status="302 Found")


def chunked(raw: bytes) -> bytes:
    return OK + b"Transfer-Encoding: chunked\r\n\r\n" + raw


BOMB = gzip.compress(bytes(50_000_000))

# path: what the server does, and the class; None for a success.
HOSTILE = {
    "/fine": (sends(body(b"picture")), None),
    "/fine-chunked": (sends(chunked(b"7\r\npicture\r\n0\r\n\r\n")), None),
    "/fine-to-the-end": (sends(OK + b"\r\npicture"), None),
    "/fine-gzip": (sends(body(gzip.compress(b"picture"), "Content-Encoding: gzip")), None),
    "/fine-deflate": (sends(body(zlib.compress(b"picture"), "Content-Encoding: deflate")), None),
    "/moved": (sends(redirect("/fine")), None),
    "/moved-far": (sends(redirect("//example.invalid/x")), "no_such_host"),
    "/silent": (stays_silent, "timeout"),
    "/drip-body": (drips(OK + b"Content-Length: 90000\r\n\r\n", b"x", 0.05), "timeout"),
    "/drip-header": (drips(OK, b"X-A: b\r\n", 0.05), "timeout"),
    "/drip-chunks": (drips(chunked(b""), b"1\r\nx\r\n", 0.05), "timeout"),
    "/endless-headers": (drips(OK, b"X-A: b\r\n" * 1000, 0.0), "protocol"),
    "/endless-header": (drips(OK + b"X-A: ", b"b" * 10_000, 0.0), "protocol"),
    "/huge-header": (sends(OK + b"X-A: " + b"b" * 500_000 + b"\r\n\r\n"), "protocol"),
    "/endless-status": (drips(b"HTTP/1.1 200 ", b"O" * 10_000, 0.0), "protocol"),
    "/garbage": (sends(b"\x00\x01\x02 what is this\r\n\r\n"), "protocol"),
    "/not-http": (sends(b"SSH-2.0-OpenSSH_9.2\r\n"), "protocol"),
    "/bad-status": (sends(b"HTTP/1.1 abc OK\r\n\r\n"), "protocol"),
    "/bad-length": (sends(OK + b"Content-Length: many\r\n\r\nx"), "protocol"),
    "/negative-length": (sends(OK + b"Content-Length: -5\r\n\r\nx"), "protocol"),
    "/two-lengths": (sends(OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx"), "protocol"),
    "/bad-chunk": (sends(chunked(b"zz\r\nx\r\n0\r\n\r\n")), "protocol"),
    "/overlong-chunk": (sends(chunked(b"1\r\nxyz\r\n0\r\n\r\n")), "protocol"),
    "/header-injection": (sends(OK + b"X\x00Y: a\r\n\r\n"), "protocol"),
    "/unknown-encoding": (sends(body(b"x", "Content-Encoding: br")), "protocol"),
    "/broken-gzip": (sends(body(b"not compressed", "Content-Encoding: gzip")), "protocol"),
    "/no-answer": (sends(b""), "connect"),
    "/reset-at-once": (resets(b""), "connect"),
    "/half-headers": (sends(OK + b"Content-Le"), "connect"),
    "/short-body": (sends(OK + b"Content-Length: 100\r\n\r\nshort"), "truncated"),
    "/reset-in-body": (resets(OK + b"Content-Length: 90000\r\n\r\nxxx"), "truncated"),
    "/short-chunks": (sends(chunked(b"7\r\npict")), "truncated"),
    "/no-last-chunk": (sends(chunked(b"7\r\npicture\r\n")), "truncated"),
    "/short-gzip": (
        sends(body(gzip.compress(b"picture" * 99)[:-9], "Content-Encoding: gzip")),
        "truncated",
    ),
    "/empty": (sends(body(b"")), "empty"),
    "/empty-gzip": (sends(body(gzip.compress(b""), "Content-Encoding: gzip")), "empty"),
    "/promises-much": (sends(OK + b"Content-Length: 99999999999\r\n\r\nx"), "too_large"),
    "/sends-much": (drips(OK + b"\r\n", b"x" * 50_000, 0.0), "too_large"),
    "/chunks-much": (drips(chunked(b""), b"c350\r\n" + b"x" * 50_000 + b"\r\n", 0.0), "too_large"),
    "/gzip-bomb": (sends(body(BOMB, "Content-Encoding: gzip")), "too_large"),
    "/loop": (sends(redirect("/loop")), "redirects"),
    "/nowhere": (sends(body(b"", status="301 Moved")), "redirects"),
    "/to-file": (sends(redirect("file:///etc/passwd")), "bad_url"),
    "/to-ftp": (sends(redirect("ftp://example.org/x")), "bad_url"),
    "/to-data": (sends(redirect("data:image/png;base64,AAAA")), "bad_url"),
    "/to-script": (sends(redirect("javascript:alert(1)")), "bad_url"),
    "/to-nonsense": (sends(redirect("http://[::1")), "bad_url"),
    "/to-port-0": (sends(redirect("http://example.org:0/")), "bad_url"),
    "/204": (sends(b"HTTP/1.1 204 No Content\r\n\r\n"), "http_other"),
    "/206": (sends(body(b"part", status="206 Partial Content")), "http_other"),
    "/304": (sends(b"HTTP/1.1 304 Not Modified\r\n\r\n"), "http_other"),
    "/400": (sends(body(b"x", status="400 Bad Request")), "http_4xx"),
    "/401": (sends(body(b"x", status="401 Unauthorized")), "http_401"),
    "/403": (sends(body(b"x", status="403 Forbidden")), "http_403"),
    "/404": (sends(body(b"x", status="404 Not Found")), "http_404"),
    "/410": (sends(body(b"x", status="410 Gone")), "http_410"),
    "/429": (sends(body(b"x", "Retry-After: 7", status="429 Too Many Requests")), "http_429"),
    "/451": (sends(body(b"x", status="451 Unavailable")), "http_4xx"),
    "/500": (sends(body(b"x", status="500 Oops")), "http_5xx"),
    "/503": (sends(body(b"x", "Retry-After: 9999999", status="503 Busy")), "http_5xx"),
    "/999": (sends(body(b"x", status="999 Go away")), "http_other"),
    "/no-ai": (sends(body(b"picture", "X-Robots-Tag: noai")), "opt_out"),
    "/no-ai-twice": (
        sends(body(b"picture", "X-Robots-Tag: nofollow", "X-Robots-Tag: noimageai")),
        "opt_out",
    ),
    "/404-cut": (sends(b"HTTP/1.1 404 Gone\r\nContent-Length: 50\r\n\r\ncut"), "http_404"),
    "/404-drip": (
        drips(b"HTTP/1.1 404 Gone\r\nContent-Length: 5000\r\n\r\n", b"x", 0.05),
        "http_404",
    ),
    "/gone-and-no-ai": (
        sends(body(b"x", "X-Robots-Tag: noai", status="404 Not Found")),
        "http_404",
    ),
    "/no-ai-other": (sends(body(b"picture", "X-Robots-Tag: otherbot: noai")), None),
}


def settings(**changed) -> DownloadSettings:
    defaults = {
        "allow_private_addresses": True,
        "timeout_s": DEADLINE_S,
        "max_bytes": MAX_BYTES,
        "connections": 4,
    }
    return DownloadSettings(**{**defaults, **changed})


@pytest.fixture(scope="module")
def server():
    with RawServer({path: behaviour for path, (behaviour, _) in HOSTILE.items()}) as running:
        yield running


async def fetch(url: str, **changed) -> Fetched | Refused:
    async with Fetcher(settings(**changed)) as fetcher:
        return await fetcher.fetch(url)


def error_of(answer: Fetched | Refused) -> str | None:
    return None if isinstance(answer, Fetched) else answer.failure.error


@pytest.mark.parametrize("path", HOSTILE)
async def test_each_behaviour_has_its_class_and_costs_no_more_than_the_deadline(server, path):
    started = time.monotonic()
    answer = await fetch(server.base_url + path)
    assert error_of(answer) == HOSTILE[path][1], answer
    assert time.monotonic() - started < DEADLINE_S + 1.0
    if isinstance(answer, Fetched):
        assert answer.data == b"picture"


async def test_one_session_survives_them_all(server):
    async with Fetcher(settings()) as fetcher:
        for path in HOSTILE:
            if HOSTILE[path][1] != "timeout":
                assert error_of(await fetcher.fetch(server.base_url + path)) == HOSTILE[path][1]
        assert error_of(await fetcher.fetch(server.base_url + "/fine")) is None


async def test_ignoring_opt_outs_is_a_setting(server):
    assert error_of(await fetch(server.base_url + "/no-ai", honor_opt_out=False)) is None


async def test_retry_after_is_passed_on_within_bounds(server):
    assert (await fetch(server.base_url + "/429")).retry_after_s == 7
    assert (await fetch(server.base_url + "/503")).retry_after_s == LONGEST_RETRY_AFTER_S


async def test_refused_connections_are_a_class():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    answer = await fetch(f"http://127.0.0.1:{port}/")
    assert answer == Refused(Failure("connect", "refused"))


async def test_unknown_hosts_are_a_class_and_remembered():
    async with Fetcher(settings()) as fetcher:
        first = await fetcher.fetch("http://nobody.invalid/")
        assert error_of(first) == "no_such_host"
        assert await fetcher.fetch("http://nobody.invalid/") == first


PRIVATE = ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "017700000001", "127.1", "[::1]"]
PRIVATE += ["[::ffff:127.0.0.1]", "0", "10.0.0.1", "169.254.169.254", "0.0.0.0"]


@pytest.mark.parametrize("host", PRIVATE)
async def test_no_private_address_is_reached_by_any_name(server, host):
    before = sum(server.hits.values())
    port = server.base_url.rsplit(":", 1)[1]
    answer = await fetch(f"http://{host}:{port}/fine", allow_private_addresses=False)
    assert error_of(answer) == "private_address", answer
    assert sum(server.hits.values()) == before


@contextmanager
def every_name_resolves_to(monkeypatch, *hosts):
    """Stands in for a public name whose DNS answer points inside."""

    async def look_up(_self, _host):
        return _Known(tuple((socket.AF_INET, host) for host in hosts), time.monotonic() + 60)

    with monkeypatch.context() as patch:
        patch.setattr("coyo_tools.pieces.resolver.Resolver._look_up", look_up)
        yield


@pytest.mark.parametrize("hosts", [["127.0.0.1"], ["127.0.0.1", "127.0.0.2", "10.0.0.1"]])
async def test_a_public_name_that_points_inside_reaches_nothing(server, monkeypatch, hosts):
    before = sum(server.hits.values())
    port = server.base_url.rsplit(":", 1)[1]
    with every_name_resolves_to(monkeypatch, *hosts):
        answer = await fetch(f"http://img.example.org:{port}/fine", allow_private_addresses=False)
    assert error_of(answer) == "private_address"
    assert sum(server.hits.values()) == before


async def test_a_redirect_to_a_private_address_is_not_followed(server, monkeypatch):
    """The first hop is let through by the socket check; the second is refused by its name."""
    monkeypatch.setattr(
        "coyo_tools.pieces.addresses.guarded_socket",
        lambda info: socket.socket(info[0], info[1], info[2]),
    )
    server.routes["/inside"] = sends(redirect(f"{server.base_url}/fine"))
    before = server.hits["/fine"]
    port = server.base_url.rsplit(":", 1)[1]
    with every_name_resolves_to(monkeypatch, "127.0.0.1"):
        answer = await fetch(f"http://img.example.org:{port}/inside", allow_private_addresses=False)
    assert error_of(answer) == "private_address"
    assert server.hits["/inside"] == 1
    assert server.hits["/fine"] == before


async def test_tls_failures_are_a_class(tmp_path):
    """A server whose certificate nobody vouches for."""
    certificate = make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    listening = await asyncio.start_server(
        lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context
    )
    port = listening.sockets[0].getsockname()[1]
    answer = await fetch(f"https://127.0.0.1:{port}/")
    listening.close()
    assert error_of(answer) == "tls"


async def test_tls_to_a_server_without_it_is_a_class():
    listening = await asyncio.start_server(
        lambda _, writer: (writer.write(body(b"picture")), writer.close()), "127.0.0.1", 0
    )
    port = listening.sockets[0].getsockname()[1]
    answer = await fetch(f"https://127.0.0.1:{port}/fine")
    listening.close()
    assert error_of(answer) == "tls"


def make_certificate(folder):
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    kind = serialization.PrivateFormat.PKCS8
    path = folder / "both.pem"
    path.write_bytes(
        key.private_bytes(pem, kind, serialization.NoEncryption()) + certificate.public_bytes(pem)
    )
    return path


@pytest.mark.parametrize(
    ("robots", "expected"),
    [
        (body(b"User-agent: *\nDisallow: /fine"), "robots"),
        (body(b"User-agent: *\nDisallow: /other"), None),
        (body(b"User-agent: coyo-tools\nDisallow: /"), "robots"),
        (body(b"", status="404 Not Found"), None),
        (body(b"x", status="503 Busy"), "robots"),
    ],
)
async def test_robots_txt_is_obeyed_and_asked_for_once(robots, expected):
    routes = {"/robots.txt": sends(robots), "/fine": sends(body(b"picture"))}
    with RawServer(routes) as asked:
        async with Fetcher(settings(robots=True)) as fetcher:
            for _ in range(3):
                assert error_of(await fetcher.fetch(asked.base_url + "/fine")) == expected
        assert asked.hits["/robots.txt"] == 1


async def test_the_block_list_is_looked_up_at_every_hop(server):
    blocked = blocklist.parse(f"blocked.example\n{server.base_url}/fine")
    async with Fetcher(settings(), blocked) as fetcher:
        assert error_of(await fetcher.fetch("http://a.blocked.example/x")) == "blocked"
        assert error_of(await fetcher.fetch(server.base_url + "/fine")) == "blocked"
        server.routes["/to-blocked"] = sends(redirect("http://blocked.example/x"))
        assert error_of(await fetcher.fetch(server.base_url + "/to-blocked")) == "blocked"


@pytest.mark.parametrize(
    "url",
    [
        None, "", " ", "example.org/a.jpg", "/a.jpg", "//example.org/a.jpg", "http://", "http:///a",
        "file:///etc/passwd", "ftp://example.org/a", "data:image/png;base64,AAAA", "http://[::1",
        "http://a:99999/", "http://a:x/", "http://\u0000/", "http://ex ample/",
        "javascript:alert(1)", "gopher://x/",
        "http://exa mple.org:bad/", "http://" + "a" * 70 + ".org:99999999/",
    ],
)  # fmt: skip
def test_what_is_no_url_is_refused_before_anything_is_sent(url):
    parsed = parse_url(url)
    assert isinstance(parsed, Failure)
    assert parsed.error == "bad_url"


@pytest.mark.parametrize(
    "url", ["http://a..b/", "http://" + "a" * 300 + ".org/", "http://ex ample/"]
)
async def test_hosts_that_no_resolver_takes_are_failures(url):
    assert error_of(await fetch(url)) in ("bad_url", "no_such_host")


@pytest.mark.parametrize(
    "url",
    ["http://bücher.example/ü.jpg?a=b c", "HTTPS://Example.ORG/a", " https://example.org/a#x "],
)
def test_odd_but_sound_urls_are_taken(url):
    assert not isinstance(parse_url(url), Failure)


def test_the_user_agent_is_honest_and_can_be_set():
    assert user_agent(DownloadSettings()).startswith("coyo-tools/")
    assert user_agent(DownloadSettings(user_agent="me (+me@example.org)")) == "me (+me@example.org)"
    page = "https://example.org/bot"
    assert user_agent(DownloadSettings(contact=page)).endswith(f"(+{page})")
    assert user_agent(DownloadSettings(contact=page, user_agent="me/1")) == f"me/1 (+{page})"
    for wrong in ({"contact": "x\r\nCookie: a"}, {"user_agent": "ü"}, {"contact": " "}):
        with pytest.raises(SettingsError, match="ASCII"):
            DownloadSettings(**wrong)


def test_every_class_the_server_can_cause_is_in_the_closed_list():
    assert {error for _, error in HOSTILE.values() if error} <= set(FAILURES)


class OneAnswerEach(RawServer):
    """Answers the first request of a connection, and hangs up on the second without a word."""

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._tasks.add(task)
        try:
            path = (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1].decode()
            await self.routes[path](reader, writer)
            await reader.readuntil(b"\r\n\r\n")
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()


async def test_kept_connections_that_the_server_gave_up_cost_no_picture():
    async def slowly(reader, writer):
        await asyncio.sleep(0.1)
        await sends(body(b"picture"))(reader, writer)

    routes = {"/slow": slowly, "/fine": sends(body(b"picture"))}
    with OneAnswerEach(routes) as server:
        settings = DownloadSettings(allow_private_addresses=True, timeout_s=5, connections=8)
        async with Fetcher(settings) as fetcher:
            at_once = [fetcher.fetch(f"{server.base_url}/slow") for _ in range(6)]
            assert all(isinstance(a, Fetched) for a in await asyncio.gather(*at_once))
            assert await fetcher.fetch(f"{server.base_url}/fine") == Fetched(b"picture")
