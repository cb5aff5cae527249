from __future__ import annotations

import asyncio
import random
from collections import Counter

from coyo_tools.pieces.hosts import HostQueue


async def test_a_busy_host_waits_and_another_goes_ahead():
    queue: HostQueue[int] = HostQueue(10, per_host=1)
    for host, item in (("a", 1), ("a", 2), ("b", 3)):
        await queue.put(host, item)
    assert await queue.take() == ("a", 1)
    assert await queue.take() == ("b", 3)
    waiting = asyncio.create_task(queue.take())
    await asyncio.sleep(0.01)
    assert not waiting.done()
    queue.release("a")
    assert await waiting == ("a", 2)


async def test_put_waits_while_the_queue_is_full_but_what_comes_back_does_not():
    queue: HostQueue[int] = HostQueue(1, per_host=1)
    await queue.put("a", 1)
    later = asyncio.create_task(queue.put("b", 2))
    await asyncio.sleep(0.01)
    assert not later.done()
    queue.put_now("c", 3)
    taken = {await queue.take(), await queue.take()}
    await later
    taken.add(await queue.take())
    assert taken == {("a", 1), ("c", 3), ("b", 2)}


async def test_closing_ends_those_who_wait():
    queue: HostQueue[int] = HostQueue(1, per_host=1)
    takers = [asyncio.create_task(queue.take()) for _ in range(5)]
    await asyncio.sleep(0)
    queue.close()
    assert await asyncio.gather(*takers) == [None] * 5


async def test_a_cancelled_taker_loses_no_turn():
    queue: HostQueue[int] = HostQueue(5, per_host=1)
    first, second = asyncio.create_task(queue.take()), asyncio.create_task(queue.take())
    await asyncio.sleep(0)
    await queue.put("a", 1)
    first.cancel()
    assert await asyncio.wait_for(second, 1) == ("a", 1)
    await asyncio.gather(first, return_exceptions=True)


async def test_every_item_comes_once_and_no_host_has_too_many():
    queue: HostQueue[int] = HostQueue(16, per_host=3)
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
            queue.release(host)
            seen.append(item)

    connections = [asyncio.create_task(connection()) for _ in range(20)]
    for item in range(500):
        await queue.put(f"h{rng.randrange(8)}", item)
    while len(seen) < 500:  # noqa: ASYNC110  the queue tells nobody when it is empty
        await asyncio.sleep(0.01)
    queue.close()
    await asyncio.gather(*connections)
    assert sorted(seen) == list(range(500))
