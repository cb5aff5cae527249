"""One url: what is asked, passed on and refused. Servers that mean harm are in tests/hostile."""

from __future__ import annotations

import asyncio
import gzip
import os
import resource
import socket

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
from coyo_tools.pieces.outage import is_spoilt
from coyo_tools.words.config import DownloadSettings
from coyo_tools.words.errors import SettingsError
from coyo_tools.words.failures import Failure
from tests.hostile.answers import body, redirect
from tests.servers.raw import Behaviour, RawServer, resets, sends

DEADLINE_S = 1.0
MAX_BYTES = 100_000


# What one url needs here; every way to misbehave is in tests/hostile.
ROUTES = {
    "/fine": sends(body(b"picture")),
    "/429": sends(body(b"x", "Retry-After: 7", status="429 Too Many Requests")),
    "/503": sends(body(b"x", "Retry-After: 9999999", status="503 Busy")),
    "/no-ai": sends(body(b"picture", "X-Robots-Tag: noai")),
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
    with RawServer(dict(ROUTES)) as running:
        yield running


async def fetch(url: str, **changed) -> Fetched | Refused:
    async with Fetcher(settings(**changed)) as fetcher:
        return await fetcher.fetch(url)


def error_of(answer: Fetched | Refused) -> str | None:
    return None if isinstance(answer, Fetched) else answer.failure.error


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


def robots_txt(data: bytes, *headers: str) -> Behaviour:
    return sends(body(data, *headers))


FORBIDS = b"User-agent: *\nDisallow: /fine\n"
LONG = b"# " + b"x" * 150_000 + b"\n"


@pytest.mark.parametrize(
    ("served", "expected"),
    [
        (robots_txt(FORBIDS, "X-Robots-Tag: noindex"), "robots"),
        (robots_txt(b"\xef\xbb\xbf" + FORBIDS), "robots"),
        (robots_txt(FORBIDS + LONG), "robots"),
        (robots_txt(LONG + FORBIDS), "robots"),
        (robots_txt(FORBIDS + 4 * LONG), "robots"),
        (robots_txt(4 * LONG + FORBIDS), None),  # 500 KiB are read
        (robots_txt(gzip.compress(FORBIDS + 4 * LONG), "Content-Encoding: gzip"), "robots"),
        (resets(body(FORBIDS)[:-5]), "truncated"),
        (sends(body(b"User-agent: *\nAllow: /\n")[:-5]), "truncated"),
        (sends(b"garbage\r\n\r\n"), "protocol"),
        (robots_txt(b""), None),
    ],
)
async def test_a_robots_txt_is_read_whatever_comes_with_it(served, expected):
    routes = {"/robots.txt": served, "/fine": sends(body(b"picture"))}
    with RawServer(routes) as asked:
        answer = await fetch(asked.base_url + "/fine", robots=True)
        assert error_of(answer) == expected
        assert asked.hits["/fine"] == (expected is None)
    if expected not in ("robots", None):
        assert answer.failure.message.startswith("robots.txt: ")


async def test_robots_txt_and_x_robots_tag_may_name_the_user_agent_that_is_sent():
    routes = {
        "/robots.txt": robots_txt(b"User-agent: mybot\nDisallow: /fine"),
        "/fine": sends(body(b"picture")),
        "/tagged": sends(body(b"picture", "X-Robots-Tag: mybot: noai")),
    }
    with RawServer(routes) as asked:
        for agent, errors in (("mybot/1.0", ["robots", "opt_out"]), (None, [None, None])):
            urls = [asked.base_url + path for path in ("/fine", "/tagged")]
            found = [await fetch(url, robots=True, user_agent=agent) for url in urls]
            assert list(map(error_of, found)) == errors


@pytest.mark.parametrize("path", ["/%7Ejoe/a", "/a%2Cb/a", "/%C3%BC/a", "/priv/a"])
async def test_a_url_spelled_as_robots_txt_spells_it_is_not_asked_for(path):
    text = "User-agent: *\nDisallow: /%7Ejoe/\nDisallow: /a%2Cb/\nDisallow: /ü/\nDisallow: /%70riv"
    with RawServer({"/robots.txt": robots_txt(text.encode())}) as asked:
        assert error_of(await fetch(asked.base_url + path, robots=True)) == "robots"


def gzipped(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


MEMBERS = gzipped(b"one, ") + gzipped(b"") + gzipped(b"two")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (MEMBERS, Fetched(b"one, two")),
        (MEMBERS + bytes(7), Fetched(b"one, two")),
        (MEMBERS[:-3], "truncated"),
        (2 * gzipped(bytes(MAX_BYTES // 2)), Fetched(bytes(MAX_BYTES))),
        (2 * gzipped(bytes(MAX_BYTES // 2 + 1)), "too_large"),
        (4096 * gzipped(b"") + gzipped(b"x"), "protocol"),
    ],
    ids=["three", "zeros after", "cut", "as long as may be", "longer", "too many"],
)
async def test_a_gzip_may_have_several_members_and_the_bound_is_for_all_of_them(data, expected):
    with RawServer({"/a": sends(body(data, "Content-Encoding: gzip"))}) as asked:
        answer = await fetch(asked.base_url + "/a")
    assert expected in (answer, error_of(answer))


async def test_the_block_list_is_looked_up_at_every_hop(server):
    blocked = blocklist.parse(f"blocked.example\n{server.base_url}/fine")
    async with Fetcher(settings(), blocked) as fetcher:
        assert error_of(await fetcher.fetch("http://a.blocked.example/x")) == "blocked"
        assert error_of(await fetcher.fetch(server.base_url + "/fine")) == "blocked"
        assert error_of(await fetcher.fetch(f" {server.base_url}/fine#x")) == "blocked"
        for target in ("http://blocked.example/x", "/fine", f"{server.base_url}/fine"):
            server.routes["/to-blocked"] = sends(redirect(target))
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


async def test_a_socket_that_this_machine_does_not_give_is_no_fault_of_the_host(server):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with Fetcher(settings()) as fetcher:
        free = os.dup(0)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
        try:
            refused = await fetcher.fetch(f"{server.base_url}/fine")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert refused == Refused(Failure("internal", "too many open files"))
        assert await fetcher.fetch(f"{server.base_url}/fine") == Fetched(b"picture")


async def test_after_an_outage_nothing_of_it_is_left():
    """Neither that robots.txt could not be had, nor tries that hang on lost connections."""

    async def never(reader, writer):
        await asyncio.sleep(60)

    routes = {
        "/robots.txt": resets(b""),
        "/fine": sends(body(b"picture")),
        "/never": never,
    }
    with RawServer(routes) as server:
        async with Fetcher(settings(robots=True, timeout_s=20)) as fetcher:
            url = f"{server.base_url}/fine"
            assert error_of(await fetcher.fetch(url)) == "connect"
            server.routes["/robots.txt"] = sends(body(b"", status="404 Not Found"))
            assert error_of(await fetcher.fetch(url)) == "connect"  # remembered
            fetcher.forget_trouble()
            assert await fetcher.fetch(url) == Fetched(b"picture")
            hanging = asyncio.create_task(fetcher.fetch(f"{server.base_url}/never"))
            await asyncio.sleep(0.2)
            await fetcher.renew()
            answer = await asyncio.wait_for(hanging, 5)
            assert is_spoilt(answer.failure)
            assert await fetcher.fetch(url) == Fetched(b"picture")
