"""Events that gather; of real sockets, with a sleep that is told of instead."""

from __future__ import annotations

import asyncio
import selectors
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from coyo_tools.machinery import resting
from coyo_tools.machinery.resting import RestingSelector


class Sleep:
    """Notes for how long, and lets something happen meanwhile."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.meanwhile: Callable[[], object] = int

    def __call__(self, seconds: float) -> None:
        self.times.append(seconds)
        self.meanwhile()


@pytest.fixture
def sleep(monkeypatch: pytest.MonkeyPatch) -> Sleep:
    made = Sleep()
    monkeypatch.setattr(resting.time, "sleep", made)
    return made


@pytest.fixture
def pairs() -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    made = [socket.socketpair() for _ in range(3)]
    yield made
    for pair in made:
        for each in pair:
            each.close()


def test_events_gather(sleep: Sleep, pairs: list[tuple[socket.socket, socket.socket]]) -> None:
    with RestingSelector() as selector:
        selector.rest_s = lambda: 0.02
        for here, _ in pairs:
            selector.register(here, selectors.EVENT_READ)
        pairs[0][1].send(b"first")
        sleep.meanwhile = lambda: pairs[2][1].send(b"later")
        heard = {key.fileobj for key, _ in selector.select(5)}
        assert heard == {pairs[0][0], pairs[2][0]}
    assert sleep.times == [0.02]


@pytest.mark.parametrize(
    ("rest_s", "timeout", "slept"),
    [(0.02, 0, []), (0.02, -1, []), (0.02, 0.005, [0.005]), (0.0, 0.01, [])],
)
def test_it_rests_no_longer_than_it_would_wait(
    sleep: Sleep, rest_s: float, timeout: float, slept: list[float]
) -> None:
    with RestingSelector() as selector:
        selector.rest_s = lambda: rest_s
        assert selector.select(timeout) == []
    assert sleep.times == slept


def test_without_a_timeout_it_waits_on_after_its_rest(
    sleep: Sleep, pairs: list[tuple[socket.socket, socket.socket]]
) -> None:
    with RestingSelector() as selector:
        selector.rest_s = lambda: 0.02
        selector.register(pairs[0][0], selectors.EVENT_READ)
        sleep.meanwhile = lambda: pairs[0][1].send(b"now")
        assert len(selector.select(None)) == 1
        selector.rest_s = lambda: 0.0
        assert len(selector.select(None)) == 1
    assert sleep.times == [0.02]


def test_timers_of_a_loop_are_in_time_and_errors_come_out() -> None:
    selector = RestingSelector()
    selector.rest_s = lambda: 30.0

    async def main() -> None:
        started = time.monotonic()
        await asyncio.sleep(0.05)
        assert time.monotonic() - started < 20
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        resting.run(main(), selector)
