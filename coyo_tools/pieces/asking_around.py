"""Whether anybody can be reached: hosts that have answered before, and name servers.

No third party is needed: hosts of the rows are connected to again, nothing is sent, and the name
servers are asked for a name that nobody has, under a top-level domain of those hosts. What they
know by heart would prove nothing of the way beyond them.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from yarl import URL

from coyo_tools.pieces import addresses
from coyo_tools.pieces.hosts import host_of, without_port
from coyo_tools.pieces.resolver import Resolver

PATIENCE_S = 3.0
_HEAD_START_S = 0.5  # of name servers: where they answer no host is bothered
_NAMES = 2  # top-level domains asked for
_LOCAL = frozenset(("localhost", "local", "invalid", "onion"))  # answered on this machine


@dataclass(frozen=True)
class Asked:
    """What came of asking around. answered: anybody did. silent: hosts that have answered before,
    and do not now. no_word: name servers were asked for a new name, and gave no answer."""

    answered: bool = False
    silent: frozenset[str] = frozenset()
    no_word: bool = False


async def ask_around(
    resolver: Resolver, witnesses: Sequence[str], hosts: Iterable[str], *, guarded: bool
) -> Asked:
    """What came of asking, as soon as anybody answers, and within PATIENCE_S.

    witnesses: urls of hosts that have answered. hosts: further ones, whose domains are asked for.
    guarded: addresses that are not public are not connected to.
    """
    by_host = {without_port(host_of(url)): url for url in witnesses}
    names = new_names([*hosts, *by_host])
    after_s = _HEAD_START_S if names else 0.0
    asked = [resolver.has_word_of(name) for name in names]
    asked += [_connects(resolver, url, after_s, guarded=guarded) for url in by_host.values()]
    if await _any(asked):
        return Asked(answered=True)
    return Asked(silent=frozenset(by_host), no_word=bool(names))


def new_names(hosts: Iterable[str]) -> list[str]:
    """Names that nobody has, one under each top-level domain of the hosts, of a few of these."""
    domains: dict[str, None] = {}
    for host in hosts:
        domain = host.rpartition(".")[2]
        is_name = domain.isascii() and domain.replace("-", "").isalnum() and not domain.isdigit()
        if is_name and addresses.literal(host) is None and domain not in _LOCAL:
            domains[domain] = None
    return [f"{secrets.token_hex(8)}.{domain}" for domain in list(domains)[:_NAMES]]


async def _connects(resolver: Resolver, url: str, after_s: float, *, guarded: bool) -> bool:
    """Whether any address of a url's host takes a connection, or refuses it."""
    await asyncio.sleep(after_s)
    target = URL(url.strip())
    port = target.port or 0
    found = resolver.known(target.raw_host or "")  # as aiohttp asks for it
    return await _any([_connects_to(each, port, guarded=guarded) for each in found])


async def _connects_to(address: str, port: int, *, guarded: bool) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    where = (address, port)
    try:
        if guarded:
            sock = addresses.guarded_socket((family, socket.SOCK_STREAM, 0, "", where))
        else:
            sock = socket.socket(family, socket.SOCK_STREAM)
        with sock:
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, where)
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return True


async def _any(questions: Iterable[Coroutine[Any, Any, bool]]) -> bool:
    """Whether any comes true in time; the others are then given up."""
    tasks = [asyncio.create_task(each) for each in questions]
    try:
        async with asyncio.timeout(PATIENCE_S):
            for each in asyncio.as_completed(tasks):
                if await each:
                    return True
    except TimeoutError:
        pass
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return False
