"""One process whose network goes away, by a fake: connections are refused a way by the error that
the system raises. With a network of its own, and whole runs: tests/faults/test_network.py."""

from __future__ import annotations

import asyncio
import errno
import threading
from pathlib import Path

import pytest
from aiohttp import web

from coyo_tools.pieces.blocklist import BlockList
from coyo_tools.stages import download as stage
from coyo_tools.words.config import DownloadSettings
from coyo_tools.words.errors import NetworkError
from tests.servers.hosts import ManyHosts
from tests.servers.pictures import picture
from tests.stages.test_download import unit

PICTURE = picture(1)
ROWS = 120


class FakeCable:
    """Not plugged in, no socket is connected: ENETUNREACH."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.plugged_in, self.refused = True, 0
        connect = asyncio.SelectorEventLoop.sock_connect

        async def sock_connect(loop, sock, address):
            if not self.plugged_in:
                self.refused += 1
                raise OSError(errno.ENETUNREACH, "Network is unreachable")
            return await connect(loop, sock, address)

        monkeypatch.setattr(asyncio.SelectorEventLoop, "sock_connect", sock_connect)


async def shortly(_: web.Request) -> web.Response:
    """Over a connection that is not kept."""
    await asyncio.sleep(0.05)
    answer = web.Response(body=PICTURE)
    answer.force_close()
    return answer


def made(tmp_path: Path, urls: list[str], heard, **changed) -> dict:
    """The stats of a shard of these urls. heard: called with each event."""
    for name in ("out", "scratch"):
        (tmp_path / name).mkdir()
    settings = DownloadSettings(
        **{
            "allow_private_addresses": True,
            "image_size": 64,
            "connections": 4,
            "per_host_rate": 0,
            **changed,
        }
    )
    work = stage.Download(
        settings, str(tmp_path / "out"), str(tmp_path / "scratch"), frozenset([0]), BlockList(), 1
    )
    ((_, stats),) = work(iter([unit(urls)]), heard)
    return stats


class Listening:
    """Hears a run's events; pulls the cable once so many rows are done, plugs it in after so many
    seconds more."""

    def __init__(self, cable: FakeCable, after: int, seconds: float) -> None:
        self._cable, self._after, self._seconds = cable, after, seconds
        self._rows = 0
        self.network: list[bool] = []

    def __call__(self, event) -> None:
        if "network" in event:
            self.network.append(event["network"]["gone"])
            return
        before, self._rows = self._rows, self._rows + event["rows"]
        if before < self._after <= self._rows:
            self._cable.plugged_in = False
            plug_in = threading.Timer(self._seconds, setattr, (self._cable, "plugged_in", True))
            plug_in.daemon = True
            plug_in.start()


def urls_of(server: ManyHosts) -> list[str]:
    """Of hosts of which most are met late."""
    return [server.url(f"127.0.0.{2 + n // 3}", n) for n in range(ROWS)]


@pytest.mark.parametrize("seconds", [0.8, 2.0, 6.0])
def test_no_row_is_lost_to_an_outage_however_short(tmp_path, monkeypatch, seconds):
    cable = FakeCable(monkeypatch)
    listening = Listening(cable, 40, seconds)
    with ManyHosts(shortly) as server:
        stats = made(tmp_path, urls_of(server), listening)
    assert cable.refused
    assert stats["successes"] == ROWS
    assert listening.network in ([], [True, False])
    assert listening.network or seconds < 5


def test_the_run_ends_after_the_wait_with_nothing_recorded(tmp_path, monkeypatch):
    listening = Listening(FakeCable(monkeypatch), 40, 60)
    with (
        ManyHosts(shortly) as server,
        pytest.raises(NetworkError, match=r"gone for 2 s.*run the same command again"),
    ):
        made(tmp_path, urls_of(server), listening, network_wait_s=2)
    assert listening.network == [True]
    assert list((tmp_path / "out").glob("*.parquet")) == []


def test_without_waiting_rows_are_recorded(tmp_path, monkeypatch):
    cable = FakeCable(monkeypatch)
    cable.plugged_in = False
    with ManyHosts(shortly) as server:
        stats = made(tmp_path, urls_of(server), lambda _: None, network_wait_s=0)
    assert stats["errors"] == {"connect": ROWS}


def test_hosts_that_never_answered_are_not_waited_for(tmp_path, monkeypatch):
    """Urls that name addresses: nobody is known who should answer."""
    cable = FakeCable(monkeypatch)
    cable.plugged_in = False
    listening = Listening(cable, 10 * ROWS, 0)
    with ManyHosts(shortly) as server:
        stats = made(tmp_path, urls_of(server), listening)
    assert stats["errors"] == {"connect": ROWS}
    assert listening.network == []


def test_an_outage_ends_no_row_of_the_hosts_that_hold_a_shard_up(tmp_path, monkeypatch):
    """It begins when silent hosts alone are left, whose rows would be given up before it is
    known; when it is over these hosts answer."""
    listening = Listening(FakeCable(monkeypatch), ROWS, 5)

    async def silent_at_first(request: web.Request) -> web.Response:
        if len(server.times[request.url.host]) == 1:
            await asyncio.sleep(60)
        return await shortly(request)

    silent = [f"127.0.0.{9 + n}" for n in range(3)]
    with ManyHosts(shortly, dict.fromkeys(silent, silent_at_first)) as server:
        urls = [server.url(silent[n % 3], n) for n in range(9)]
        urls += [server.url(f"127.0.0.{2 + n % 6}", n) for n in range(ROWS)]
        stats = made(tmp_path, urls, listening, timeout_s=2.0, connections=9, per_host=1)
    assert stats["successes"] == len(urls), stats["errors"]
    assert listening.network == [True, False]
