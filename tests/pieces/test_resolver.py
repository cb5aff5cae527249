"""Names against a name server that answers, fails, keeps silent, or is slow."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from coyo_tools.pieces import resolver as module
from coyo_tools.pieces.fetch import Fetched, Fetcher, Refused
from coyo_tools.pieces.resolver import Gate, NoAnswer, NoSuchHost, Resolver
from coyo_tools.words.config import DownloadSettings
from coyo_tools.words.errors import SettingsError
from tests.servers.dns import NOERROR, REFUSED, SERVFAIL, SILENT, DnsServer
from tests.servers.raw import RawServer, sends


async def addresses(resolver: Resolver, host: str) -> list[str]:
    return [each["host"] for each in await resolver.resolve(host, 80)]


async def test_a_name_is_asked_for_once_however_many_want_it_and_its_addresses_take_turns():
    with DnsServer({"img.example": ["192.0.2.1", "192.0.2.2"]}, delay_s=0.05) as dns:
        resolver = Resolver([dns.address])
        found = await asyncio.gather(*(addresses(resolver, "img.example") for _ in range(20)))
        assert {tuple(sorted(each)) for each in found} == {("192.0.2.1", "192.0.2.2")}
        assert {each[0] for each in found} == {"192.0.2.1", "192.0.2.2"}
        assert dns.hits == {"img.example": 1}
        await resolver.close()


async def test_records_are_forgotten_with_their_time_and_not_before(monkeypatch):
    clock = [1000.0]
    with DnsServer({"img.example": ["192.0.2.1"]}, ttl_s=120) as dns:
        resolver = Resolver([dns.address])
        asked = 0

        async def look_up(host):
            nonlocal asked
            asked += 1
            return await Resolver._look_up(resolver, host)

        monkeypatch.setattr(resolver, "_look_up", look_up)
        monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
        for seconds, times in ((0, 1), (119, 1), (121, 2)):
            clock[0] = 1000.0 + seconds
            await addresses(resolver, "img.example")
            assert asked == times
        monkeypatch.undo()
        await resolver.close()


@pytest.mark.parametrize("names", [{}, {"gone.example": NOERROR}])
async def test_a_name_that_does_not_exist_is_not_asked_for_again(names):
    with DnsServer(names) as dns:
        resolver = Resolver([dns.address])
        for _ in range(3):
            with pytest.raises(NoSuchHost):
                await resolver.resolve("gone.example", 80)
        assert dns.hits == {"gone.example": 1}
        await resolver.close()


@pytest.mark.parametrize(
    ("failures", "expected"), [(2, ["192.0.2.1"]), (99, NoAnswer), (0, NoSuchHost)]
)
async def test_no_address_of_ipv6_says_nothing_of_one_of_ipv4(failures, expected):
    """c-ares tells of the question that is answered last."""
    with DnsServer({"img.example": ["192.0.2.1"] if failures else []}) as dns:
        dns.fail_first["img.example"] = failures
        dns.late_aaaa_s = 0.3
        resolver = Resolver([dns.address])
        resolver._family = socket.AF_UNSPEC
        if isinstance(expected, list):
            assert await addresses(resolver, "img.example") == expected
        else:
            with pytest.raises(expected):
                await resolver.resolve("img.example", 80)
        await resolver.close()


@pytest.mark.parametrize("host", ["nobody.invalid", "a.onion"])
async def test_names_that_never_exist_are_not_asked_for(host):
    with DnsServer({host: ["192.0.2.1"]}) as dns:
        resolver = Resolver([dns.address])
        with pytest.raises(NoSuchHost):
            await resolver.resolve(host, 80)
        assert not dns.hits
        await resolver.close()


async def test_a_server_that_fails_is_asked_again():
    with DnsServer({"img.example": ["192.0.2.1"]}) as dns:
        dns.fail_first["img.example"] = 3
        resolver = Resolver([dns.address])
        assert await addresses(resolver, "img.example") == ["192.0.2.1"]
        assert dns.hits["img.example"] == 4
        await resolver.close()


@pytest.mark.parametrize("trouble", [SERVFAIL, REFUSED, SILENT])
async def test_another_server_is_asked_where_one_gives_no_answer(trouble):
    names = {f"h{n}.example": [f"192.0.2.{n}"] for n in range(6)}
    with DnsServer(dict.fromkeys(names, trouble)) as bad, DnsServer(names) as good:
        resolver = Resolver([bad.address, good.address], patience_s=4)
        for host, expected in names.items():
            assert await addresses(resolver, host) == expected
        await resolver.close()


async def test_a_name_that_takes_long_to_find_is_waited_for_where_others_come_at_once():
    """c-ares asks again soon where answers have come soon, and gives up soon (since 1.33)."""
    names = {f"h{n}.example": [f"192.0.2.{n}"] for n in range(60)}
    with DnsServer(names, delay_s=0.01) as dns:
        dns.found_after_s = {"h59.example": 5}
        resolver = Resolver([dns.address], patience_s=15)
        for host in names:
            assert await addresses(resolver, host) == names[host]
        await resolver.close()


async def test_servers_that_stay_silent_cost_no_more_than_the_patience():
    with DnsServer({"img.example": SILENT}) as dns:
        resolver = Resolver([dns.address], patience_s=1)
        started = time.monotonic()
        with pytest.raises(NoAnswer):
            await resolver.resolve("img.example", 80)
        assert time.monotonic() - started < 2
        await resolver.close()


async def test_an_old_address_is_better_than_none(monkeypatch):
    with DnsServer({"img.example": ["192.0.2.1"]}) as dns:
        resolver = Resolver([dns.address], patience_s=8)
        assert await addresses(resolver, "img.example") == ["192.0.2.1"]
        known = resolver._known["img.example"]
        resolver._known["img.example"] = module._Known(known.addresses, 0.0)

        async def trouble(_host):
            return module._Known((), time.monotonic() + 5, NoAnswer)

        monkeypatch.setattr(resolver, "_look_up", trouble)
        assert await addresses(resolver, "img.example") == ["192.0.2.1"]
        await resolver.close()


async def test_a_server_that_drops_what_is_too_much_loses_no_name():
    """It bears four questions at once; 150 names are wanted at the same time."""
    names = {f"h{n}.example": [f"192.0.2.{n}"] for n in range(150)}
    with DnsServer(names, delay_s=0.01) as dns:
        dns.capacity = 8
        resolver = Resolver([dns.address], patience_s=20)
        found = await asyncio.gather(
            *(addresses(resolver, host) for host in names), return_exceptions=True
        )
        await resolver.close()
    assert [each for each in found if isinstance(each, Exception)] == []
    assert dns.most <= 8


@pytest.mark.parametrize("trouble", [SILENT, SERVFAIL])
async def test_names_without_an_answer_cost_the_others_nothing(trouble):
    """One in five, as of old urls; no other is given up, and as many are asked for at once."""
    names = {f"h{n}.example": trouble if n % 5 == 0 else ["192.0.2.1"] for n in range(1000)}
    with DnsServer(names, delay_s=0.02) as dns:
        resolver = Resolver([dns.address], patience_s=3)
        connections = asyncio.Semaphore(256)
        lost = []

        async def one(host: str) -> None:
            async with connections:
                try:
                    await resolver.resolve(host, 80)
                except NoAnswer:
                    lost.append(host)

        await asyncio.gather(*(one(host) for host in names))
        await resolver.close()
    assert sorted(lost) == sorted(host for host, found in names.items() if found == trouble)
    assert resolver._gate.width >= module.AT_ONCE


async def test_the_gate_narrows_and_widens_within_bounds():
    gate = Gate(8, narrowest=2, widest=10)
    answers(gate, failed=100)
    assert gate.width == 2
    answers(gate, well=200)
    assert gate.width == 10


def answers(gate: Gate, well: int = 0, failed: int = 0) -> None:
    """So many questions, let in and answered one after another."""
    now_s = time.monotonic()
    for number in range(well + failed):
        gate.tell(well=number < well, let_in_s=now_s, now_s=now_s)


async def test_names_that_fail_by_themselves_narrow_no_gate():
    gate = Gate(64, widest=64)
    for _ in range(50):
        answers(gate, well=8, failed=8)
    assert gate.width == 64


async def test_the_gate_widens_slowly_where_it_was_too_wide():
    gate = Gate(64)
    answers(gate, well=10)
    assert gate.width == 74
    answers(gate, failed=64)
    assert gate.width == 37
    answers(gate, well=40)
    assert gate.width == 38


async def test_what_a_gate_has_learnt_is_forgotten_and_those_that_wait_get_in():
    gate = Gate(8, narrowest=1)
    answers(gate, failed=200)
    assert gate.width == 1
    through = 0

    async def one() -> None:
        nonlocal through
        async with gate.passage():
            through += 1
            await asyncio.sleep(60)

    tasks = [asyncio.create_task(one()) for _ in range(30)]
    await asyncio.sleep(0)
    assert through == 1
    gate.forget(now_s=5.0)
    await asyncio.sleep(0.01)
    assert through == gate.width == 8
    for _ in range(64):
        gate.tell(well=False, let_in_s=4.0, now_s=6.0)
    assert gate.width == 8
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_wave_that_is_lost_narrows_the_gate_once():
    gate = Gate(16)
    for _ in range(64):
        gate.tell(well=False, let_in_s=1.0, now_s=5.0)
    assert gate.width == 8
    for _ in range(16):
        gate.tell(well=False, let_in_s=5.1, now_s=9.0)
    assert gate.width == 4


async def test_no_more_pass_the_gate_than_its_width_and_all_get_through():
    gate = Gate(3)
    inside, most, through = 0, 0, 0

    async def one() -> None:
        nonlocal inside, most, through
        async with gate.passage():
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.001)
            inside -= 1
            through += 1

    tasks = [asyncio.create_task(one()) for _ in range(30)]
    await asyncio.sleep(0)
    for task in tasks[5:10]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (most, through) == (3, 25)


async def test_urls_are_fetched_by_names_of_the_servers_asked():
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\npicture"
    names = {"img.example": ["127.0.0.1"], "silent.example": SILENT}
    with RawServer({"/a": sends(answer)}) as server, DnsServer(names) as dns:
        port = server.base_url.rsplit(":", 1)[1]
        settings = DownloadSettings(
            allow_private_addresses=True, timeout_s=2, name_servers=(dns.address,)
        )
        async with Fetcher(settings) as fetcher:
            errors = {}
            for host in ("img", "silent", "gone"):
                found = await fetcher.fetch(f"http://{host}.example:{port}/a")
                errors[host] = found.failure.error if isinstance(found, Refused) else None
            assert errors == {"img": None, "silent": "dns", "gone": "no_such_host"}
            found = await fetcher.fetch(f"http://localhost:{port}/a")
            assert found == Fetched(b"picture")


@pytest.mark.parametrize("given", ["9.9.9.9", "9.9.9.9:53", "2620:fe::fe", "[2620:fe::fe]:53"])
def test_name_servers_are_addresses_with_or_without_a_port(given):
    assert DownloadSettings(name_servers=(given,)).name_servers == (given,)


@pytest.mark.parametrize(
    "given",
    [
        *("dns.example", "9.9.9.9:x", "", "9.9.9:53", "9.9.9.9:0", "9.9.9.9:65536", "9.9.9.9:"),
        *("[2620:fe::fe]:0", "[9.9.9.9]:53", "1:2:3:4:5:6:7:8:53", "9.9.9.9:²"),
    ],
)
def test_what_is_no_name_server_is_refused(given):
    with pytest.raises(SettingsError, match="--name-server"):
        DownloadSettings(name_servers=(given,))


def test_the_way_to_ipv6_is_looked_for_without_sending(monkeypatch):
    class Nowhere(socket.socket):
        def connect(self, _):
            raise OSError(101, "unreachable")

    monkeypatch.setattr(module.socket, "socket", Nowhere)
    assert not module._has_ipv6()


async def test_silence_that_is_forgotten_is_asked_about_again_at_once():
    with DnsServer({"img.example": SERVFAIL}) as dns:
        resolver = Resolver([dns.address])
        with pytest.raises(NoAnswer):
            await addresses(resolver, "img.example")
        dns.names["img.example"] = ["192.0.2.1"]
        with pytest.raises(NoAnswer):
            await addresses(resolver, "img.example")
        resolver._gate._width = 1.0
        resolver.forget_silence()
        assert resolver._gate.width == module.AT_ONCE
        assert await addresses(resolver, "img.example") == ["192.0.2.1"]
        assert resolver.known("img.example") == ["192.0.2.1"]
        assert resolver.known("other.example") == []
        assert resolver.known("192.0.2.7") == ["192.0.2.7"]
        await resolver.close()


async def test_a_name_server_s_word_is_an_address_or_that_there_is_none():
    names = {"img.example": ["192.0.2.1"], "a.example": SERVFAIL, "b.example": SILENT}
    with DnsServer(names) as dns:
        resolver = Resolver([dns.address], patience_s=0.8)
        assert await resolver.has_word_of("img.example")
        assert await resolver.has_word_of("unknown.example")
        assert not await resolver.has_word_of("a.example")
        assert not await resolver.has_word_of("b.example")
        await resolver.close()
