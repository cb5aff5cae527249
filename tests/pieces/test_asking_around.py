"""Asking whether anybody can be reached, of real sockets and a real name server."""

from __future__ import annotations

import socket
import time

import pytest

from coyo_tools.pieces.asking_around import PATIENCE_S, Asked, ask_around
from coyo_tools.pieces.resolver import Resolver
from tests.servers.dns import SERVFAIL, SILENT, DnsServer


class Mute(dict):
    """Of every name the same: its code, or how many seconds it takes."""

    def __init__(self, code: int) -> None:
        self.code = code

    def get(self, *_):
        return self.code


async def ask(dns: DnsServer, witnesses=(), hosts=(), *, guarded: bool = False) -> Asked:
    resolver = Resolver([dns.address], patience_s=4)
    try:
        return await ask_around(resolver, witnesses, hosts, guarded=guarded)
    finally:
        await resolver.close()


async def test_a_name_server_that_answers_a_name_it_does_not_know_is_enough():
    with DnsServer({}) as dns:
        assert await ask(dns, hosts=["img.example"]) == Asked(answered=True)
        (name,) = dns.hits
        assert name.endswith(".example")
        assert name != "img.example"


async def test_a_name_server_that_has_to_look_for_the_name_is_waited_for():
    known = {f"h{n}.example": [f"192.0.2.{n}"] for n in range(60)}
    with DnsServer(known) as dns:
        resolver = Resolver([dns.address])
        for host in known:  # c-ares learns that answers come soon
            await resolver.resolve(host)
        dns.found_after_s = Mute(2)
        found = await ask_around(resolver, [], ["img.example"], guarded=False)
        assert found == Asked(answered=True)
        await resolver.close()


@pytest.mark.parametrize("code", [SILENT, SERVFAIL])
async def test_no_word_of_name_servers_is_told(code):
    with DnsServer(Mute(code)) as dns:
        started = time.monotonic()
        assert await ask(dns, hosts=["img.example"]) == Asked(no_word=True)
        assert time.monotonic() - started < PATIENCE_S + 2
        assert await ask(dns, hosts=["192.0.2.1"]) == Asked()  # nobody to ask


async def test_a_host_that_answered_before_is_enough_and_one_that_refuses_as_well():
    with DnsServer(Mute(SILENT)) as dns, socket.create_server(("127.0.0.1", 0)) as there:
        port = there.getsockname()[1]
        lost = "http://known.by.nobody.example/1"
        url = f"http://127.0.0.1:{port}/1"
        assert await ask(dns, [lost, url]) == Asked(answered=True)
        there.close()
        assert await ask(dns, [lost, url]) == Asked(answered=True)  # refused
        assert await ask(dns, [lost]) == Asked(
            silent=frozenset(("known.by.nobody.example",)), no_word=True
        )


async def test_no_host_is_bothered_where_name_servers_answer():
    with DnsServer({}) as dns, socket.create_server(("127.0.0.1", 0)) as there:
        url = f"http://127.0.0.1:{there.getsockname()[1]}/1"
        assert await ask(dns, [url], ["img.example"]) == Asked(answered=True)
        there.settimeout(0.1)
        with pytest.raises(TimeoutError):
            there.accept()


async def test_hosts_are_connected_to_at_the_addresses_they_had():
    with (
        DnsServer({"xn--mller-kva.example": ["127.0.0.1"]}) as dns,
        socket.create_server(("127.0.0.1", 0)) as there,
    ):
        url = f" http://müller.example:{there.getsockname()[1]}/1"
        resolver = Resolver([dns.address])
        await resolver.resolve("xn--mller-kva.example")
        dns.names = Mute(SILENT)
        assert await ask_around(resolver, [url], [], guarded=False) == Asked(answered=True)
        await resolver.close()


async def test_nothing_private_is_connected_to_where_it_is_forbidden():
    with DnsServer(Mute(SILENT)) as dns, socket.create_server(("127.0.0.1", 0)) as there:
        url = f"http://127.0.0.1:{there.getsockname()[1]}/1"
        assert await ask(dns, [url], guarded=True) == Asked(silent=frozenset(("127.0.0.1",)))
        there.settimeout(0.1)
        with pytest.raises(TimeoutError):
            there.accept()
