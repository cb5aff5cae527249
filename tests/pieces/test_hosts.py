"""Turns of hosts: connections, rates, pauses, and hosts that are put aside."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from coyo_tools.pieces import host_limits, hosts
from coyo_tools.pieces.host_limits import STRIKES, Heard, Host, Limits
from coyo_tools.pieces.hosts import HostQueue, host_of
from coyo_tools.words.config import DownloadSettings
from coyo_tools.words.failures import Failure

GONE = Heard(reached=False, failure=Failure("connect", "refused"))


def queue_of(connections: int, rate: float = 0.0, size: int = 10) -> HostQueue[int]:
    return HostQueue(size, Limits(connections, rate))


async def test_a_busy_host_waits_and_another_goes_ahead():
    queue = queue_of(1)
    for host, item in (("a", 1), ("a", 2), ("b", 3)):
        queue.put(host, item)
    assert await queue.take() == ("a", 1)
    assert await queue.take() == ("b", 3)
    waiting = asyncio.create_task(queue.take())
    await asyncio.sleep(0.01)
    assert not waiting.done()
    queue.release("a", Heard())
    assert await waiting == ("a", 2)


async def test_neighbours_of_one_host_are_spread_out():
    queue = queue_of(8)
    for host in ("a",) * 5 + ("b",) * 3 + ("c",):
        queue.put(host, 0)
    order = [(await queue.take())[0] for _ in range(9)]
    assert "".join(order) == "abcababaa"


async def test_more_is_wanted_when_few_are_left(monkeypatch):
    monkeypatch.setattr(hosts, "STALL_S", 60)
    queue = queue_of(8, size=3)
    for item in range(3):
        queue.put("a", item)
    wanted = asyncio.create_task(queue.wants_more())
    await asyncio.sleep(0.15)
    assert not wanted.done()
    await queue.take()
    await asyncio.wait_for(wanted, 5)


async def test_more_is_wanted_when_those_that_wait_keep_nobody_busy(monkeypatch):
    monkeypatch.setattr(hosts, "STALL_S", 0.1)
    queue = queue_of(1, size=3)
    for item in range(9):
        queue.put("a", item)
    await queue.take()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(queue.wants_more(), 0.3)
    idle = asyncio.create_task(queue.take())
    await asyncio.wait_for(queue.wants_more(), 5)
    idle.cancel()
    await asyncio.gather(idle, return_exceptions=True)


async def test_closing_ends_those_who_wait():
    queue = queue_of(1)
    takers = [asyncio.create_task(queue.take()) for _ in range(5)]
    await asyncio.sleep(0)
    queue.close()
    assert await asyncio.gather(*takers) == [None] * 5


async def test_a_cancelled_taker_loses_no_turn():
    queue = queue_of(1)
    first, second = asyncio.create_task(queue.take()), asyncio.create_task(queue.take())
    await asyncio.sleep(0)
    queue.put("a", 1)
    first.cancel()
    assert await asyncio.wait_for(second, 1) == ("a", 1)
    await asyncio.gather(first, return_exceptions=True)


async def test_every_item_comes_once_and_no_host_has_too_many():
    queue = queue_of(3)
    rng = random.Random(1)
    busy: Counter[str] = Counter()
    seen: list[int] = []

    async def connection() -> None:
        while (taken := await queue.take()) is not None:
            host, item = taken
            busy[host] += 1
            assert busy[host] <= 3
            await asyncio.sleep(rng.random() / 1000)
            busy[host] -= 1
            queue.release(host, Heard())
            seen.append(item)

    connections = [asyncio.create_task(connection()) for _ in range(20)]
    for item in range(500):
        queue.put(f"h{rng.randrange(8)}", item)
    while len(seen) < 500:  # noqa: ASYNC110  the queue tells nobody when it is empty
        await asyncio.sleep(0.01)
    queue.close()
    await asyncio.gather(*connections)
    assert sorted(seen) == list(range(500))


async def test_a_host_is_asked_no_faster_than_its_rate_with_a_second_at_once():
    queue = queue_of(100, rate=20.0)
    for item in range(30):
        queue.put("a", item)
    loop = asyncio.get_running_loop()
    times = []
    for _ in range(30):
        await queue.take()
        queue.release("a", Heard())
        times.append(loop.time())
    assert times[19] - times[0] < 0.3  # the burst
    for first in range(30):
        for last in range(first, 30):
            assert last - first + 1 <= 20 * (times[last] - times[first]) + 20 + 1e-6
    assert times[-1] - times[0] >= 0.49


async def test_what_is_sent_to_nobody_costs_no_allowance():
    queue = queue_of(4, rate=1.0)
    for item in range(200):
        queue.put("blocked.example", item)
    async with asyncio.timeout(0.5):
        for _ in range(200):
            await queue.take()
            queue.release("blocked.example", Heard(reached=False, sent=False))


async def test_a_host_that_asks_to_wait_is_left_alone_and_comes_back_with_one_connection():
    queue = queue_of(8)
    for item in range(12):
        queue.put("a", item)
    queue.put("b", 100)
    under_way = [await queue.take() for _ in range(9)]
    assert sum(host == "a" for host, _ in under_way) == 8
    loop = asyncio.get_running_loop()
    started = loop.time()
    for _ in range(8):
        queue.release("a", Heard(wait_s=0.3))
    waiting = asyncio.create_task(queue.take())
    queue.put("b", 101)
    assert await waiting == ("b", 101)
    assert (await queue.take())[0] == "a"
    assert loop.time() - started >= 0.29
    alone = asyncio.create_task(queue.take())
    await asyncio.sleep(0.05)
    assert not alone.done()
    queue.release("a", Heard())
    assert (await alone)[0] == "a"


def test_pauses_double_in_a_row_and_those_at_once_count_as_one():
    host = Host(8, 0.0)
    now, lengths = 100.0, []
    for _ in range(3):
        for _ in range(4):
            host.ask(now)
        for _ in range(4):
            host.hear(now, Heard(wait_s=0.0), 1.0)
        lengths.append(host.not_before - now)
        now = host.not_before
    assert lengths == [1.0, 2.0, 4.0]
    host.ask(now)
    host.hear(now, Heard(), 1.0)
    host.ask(now)
    host.hear(now, Heard(wait_s=0.0), 1.0)
    assert host.not_before - now == 1.0


def test_a_host_that_does_nothing_but_ask_to_wait_is_put_aside():
    host, now = Host(8, 0.0), 100.0
    for _ in range(host_limits.PAUSES + 1):
        assert host.aside is None
        host.ask(now)
        host.hear(now, Heard(wait_s=0.0, failure=Failure("http_429")), 1.0)
        now = host.not_before
    assert host.aside == Failure("http_429")


def test_a_host_that_wants_to_be_left_alone_for_long_is_put_aside_at_once():
    host = Host(8, 0.0)
    host.ask(0.0)
    host.hear(0.0, Heard(wait_s=3600.0, failure=Failure("http_429")), 1.0)
    host.ask(0.0)
    host.hear(1.0, Heard(), 1.0)  # was under way: the host still wants to be left alone
    assert host.aside == Failure("http_429")
    assert host.not_before == 3600.0


async def test_a_host_that_never_answers_is_put_aside_and_comes_back_when_it_does():
    queue = queue_of(32)
    for item in range(100):
        queue.put("a", item)
    taken = 0
    while queue.aside("a") is None:
        await queue.take()
        taken += 1
        queue.release("a", GONE)
    assert taken == STRIKES
    assert queue.aside("a") == GONE.failure
    assert queue.withdraw("a") == list(range(STRIKES, 100))
    queue.put("a", 1)
    await queue.take()
    queue.release("a", Heard())
    assert queue.aside("a") is None


@pytest.mark.parametrize(("connections", "strikes"), [(1, 2), (4, 4), (32, 8)])
def test_fewer_connections_need_fewer_failures(connections, strikes):
    host = Host(connections, 0.0)
    for _ in range(strikes):
        assert host.aside is None
        host.ask(0.0)
        host.hear(0.0, GONE, 1.0)
    assert host.aside == GONE.failure


def test_one_answer_between_failures_is_enough_to_stay():
    host = Host(8, 0.0)
    for number in range(5 * STRIKES):
        host.ask(0.0)
        host.hear(0.0, Heard() if number % STRIKES == 3 else GONE, 1.0)
    assert host.aside is None


def test_a_host_of_nothing_but_server_errors_is_put_aside_until_it_says_something_else():
    host = Host(8, 0.0)
    broken = Heard(final=False, broken=True, failure=Failure("http_5xx", "HTTP status 500"))

    def hears(heard: Heard, times: int = 1) -> Failure | None:
        for _ in range(times):
            host.ask(0.0)
            host.hear(0.0, heard, 1.0)
        return host.aside

    assert hears(broken, host_limits.ERRORS - 1) is None
    assert hears(Heard()) is None
    assert hears(broken, host_limits.ERRORS - 1) is None
    assert hears(broken) == broken.failure
    assert hears(broken) == broken.failure
    assert hears(Heard()) is None


def test_only_a_host_that_has_answered_may_return_and_only_for_as_long_as_an_outage():
    host = Host(8, 0.0)

    def hears(now: float, heard: Heard) -> None:
        host.ask(now)
        host.hear(now, heard, 1.0)

    hears(1.0, GONE)
    assert not host.may_return(1.0)
    hears(2.0, Heard())
    assert not host.may_return(2.0)
    hears(3.0, GONE)
    hears(4.0, Heard(final=False))  # a body that was cut short: it was under way
    hears(5.0, GONE)
    assert host.may_return(3.0 + host_limits.OUTAGE_S - 0.1)
    assert not host.may_return(3.0 + host_limits.OUTAGE_S)
    hears(20.0, Heard())
    assert not host.may_return(20.0)


async def test_hosts_are_forgotten_but_for_those_with_something_to_know(monkeypatch):
    monkeypatch.setattr(hosts, "_REMEMBERED", 50)
    queue = queue_of(4)
    for number in range(1000):
        queue.put(f"h{number}", number)
        name, _ = await queue.take()
        queue.release(name, GONE if number % 100 == 0 else Heard())
    assert len(queue._hosts) <= 150
    assert {f"h{n}" for n in range(0, 900, 100)} <= set(queue._hosts)


def test_the_numbers_of_a_run_are_shared_out_to_its_processes():
    settings = DownloadSettings(per_host=6, per_host_rate=12)
    assert [Limits.of(settings, n).connections for n in (1, 2, 4, 100)] == [6, 3, 1, 1]
    assert [Limits.of(settings, n).rate_of("a.example") for n in (1, 4)] == [12, 3]


@pytest.mark.parametrize(
    ("host", "limited"),
    [("a.example", True), ("9.9.9.9:80", True), ("127.0.0.1:8080", False), ("localhost", False),
     ("10.0.0.7", False), ("[::1]:80", False), ("a.localhost:80", False), ("", False)],
)  # fmt: skip
def test_the_usual_rate_is_for_hosts_of_others(host, limited):
    assert (Limits.of(DownloadSettings(), 1).rate_of(host) > 0) == limited
    assert (Limits.of(DownloadSettings(per_host_rate=5), 1).rate_of(host) > 0) == bool(host)
    assert Limits.of(DownloadSettings(per_host_rate=0), 1).rate_of(host) == 0


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://A.test./x", "a.test"),
        ("http://a.test:80/x", "a.test"),
        ("HTTPS://me:secret@a.test:443?x", "a.test"),
        ("https://a.test:80/x", "a.test:80"),
        ("http://a.test:8080#x", "a.test:8080"),
        ("http://a.test:/x", "a.test"),
        (" http://a.test ", "a.test"),
        ("http://bücher.test/x", "xn--bcher-kva.test"),
        ("http://[::1]/x", "[::1]"),
        ("http://[::1]:80/x", "[::1]"),
        ("http://[::1]:81/x", "[::1]:81"),
        ("http://ü..\ud800/x", "ü..\ud800"),
        ("nonsense", ""),
        (None, ""),
    ],
)
def test_a_host_is_one_in_whatever_spelling(url, host):
    assert host_of(url) == host


async def test_a_queue_that_pauses_hands_out_nothing_and_wants_nothing():
    queue = queue_of(2)
    queue.pause()
    taking = [asyncio.create_task(queue.take()) for _ in range(3)]
    wanted = asyncio.create_task(queue.wants_more())
    for host, item in (("a", 1), ("b", 2), ("b", 3)):
        queue.put(host, item)
    await asyncio.sleep(0.15)
    assert not any(task.done() for task in [*taking, wanted])
    queue.go_on()
    assert sorted(await asyncio.gather(*taking)) == [("a", 1), ("b", 2), ("b", 3)]
    await wanted


async def test_silence_since_a_moment_is_forgiven_and_what_was_before_is_not():
    queue = queue_of(8)

    async def is_silent(host: str) -> None:
        for item in range(STRIKES):
            queue.put(host, item)
            assert await queue.take() == (host, item)
            queue.release(host, GONE)

    await is_silent("old")
    since = asyncio.get_running_loop().time()
    await asyncio.sleep(0.01)
    await is_silent("new")
    for item in range(3):
        queue.put("once", item)
    await queue.take()
    queue.release("once", GONE)
    assert queue.forgive(since) == ["new"]
    assert queue.aside("old")
    assert not queue.aside("new")
    assert queue.gone_since("once") is None
