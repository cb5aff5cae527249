"""Threads that take tasks from one line, and may become more."""

from __future__ import annotations

import asyncio
import threading
import time
import weakref

import pytest

from coyo_tools.machinery.growing_pool import GrowingPool


class Held:
    """A call that goes on until it is let go."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()

    def __call__(self) -> bool:
        self.begun.set()
        return self.go.wait(20)


def test_tasks_give_their_results_and_errors() -> None:
    with GrowingPool(2, "a") as pool:
        found = list(pool.map(divmod, range(100), [7] * 100))
        failed = pool.submit(int, "x")
    assert found == [divmod(number, 7) for number in range(100)]
    assert isinstance(failed.exception(), ValueError)
    with pytest.raises(RuntimeError, match="shut down"):
        pool.submit(int)


def test_threads_that_are_added_take_tasks_that_wait_already() -> None:
    """Each task ends only when all three are under way at once."""
    together = threading.Barrier(3, timeout=20)
    with GrowingPool(1, "a") as pool:
        waiting = [pool.submit(together.wait) for _ in range(3)]
        pool.grow(2)
        assert sorted(future.result(20) for future in waiting) == [0, 1, 2]


def test_what_is_cancelled_is_not_begun() -> None:
    held = Held()
    pool = GrowingPool(1, "a")
    first, others = pool.submit(held), [pool.submit(pytest.fail) for _ in range(5)]
    assert held.begun.wait(20)
    ending = threading.Thread(target=pool.shutdown, kwargs={"cancel_futures": True})
    ending.start()
    while not all(future.cancelled() for future in others):
        assert ending.is_alive()
    held.go.set()
    ending.join(20)
    assert not ending.is_alive()
    assert first.result(0)


def test_it_counts_its_threads_and_what_waits_for_them() -> None:
    held = Held()
    with GrowingPool(1, "a") as pool:
        pool.grow(2)
        assert (pool.threads, pool.waiting) == (3, 0)
        for _ in range(3):
            pool.submit(held)
        assert held.begun.wait(20)
        tasks = [pool.submit(int) for _ in range(5)]
        while pool.waiting > 5:  # two of those that are held are yet to be taken
            assert not tasks[0].done()
        assert pool.waiting == 5
        held.go.set()
        assert [task.result(20) for task in tasks] == [0] * 5
        assert pool.waiting == 0


def test_a_waiting_thread_keeps_nothing_of_its_last_task() -> None:
    class Large:
        pass

    with GrowingPool(1, "a") as pool:
        given = Large()
        seen = weakref.ref(given)
        pool.submit(lambda large: large, given).result(20)
        del given
        for _ in range(200):
            if seen() is None:
                break
            time.sleep(0.01)
        assert seen() is None


def test_a_loop_waits_for_results_and_errors_of_a_call() -> None:
    async def both() -> tuple[int, str]:
        with pytest.raises(ZeroDivisionError):
            await pool.run(lambda: 1 // 0)
        return await pool.run(lambda: 7), await pool.run(lambda: threading.current_thread().name)

    with GrowingPool(1, "a") as pool:
        assert asyncio.run(both()) == (7, "a_0")
    with pytest.raises(RuntimeError, match="shut down"):
        asyncio.run(pool.run(int))


async def under_way_and_in_line(
    pool: GrowingPool, held: Held
) -> tuple[asyncio.Task[bool], asyncio.Task[None]]:
    """A call that has begun, and one behind it that must not begin."""
    tasks = asyncio.create_task(pool.run(held)), asyncio.create_task(pool.run(pytest.fail))
    assert await asyncio.to_thread(held.begun.wait, 20)
    return tasks


def test_a_call_that_nobody_waits_for_any_longer_is_not_begun() -> None:
    held = Held()

    async def cancelled() -> bool:
        first, other = await under_way_and_in_line(pool, held)
        other.cancel()
        held.go.set()
        with pytest.raises(asyncio.CancelledError):
            await other
        return await first

    with GrowingPool(1, "a") as pool:
        assert asyncio.run(cancelled())


def test_calls_that_a_shutdown_drops_are_cancelled_and_others_end_after_their_loop() -> None:
    held = Held()

    async def dropped() -> None:
        first, other = await under_way_and_in_line(pool, held)
        pool.shutdown(wait=False, cancel_futures=True)
        with pytest.raises(asyncio.CancelledError):
            await other
        first.cancel()

    pool = GrowingPool(1, "a")
    asyncio.run(dropped())
    held.go.set()  # its result has nobody to be told to: the thread ends all the same
    pool.shutdown()
