"""The threads of a worker: order, how much is in hand, errors, ends."""

from __future__ import annotations

import threading
import time
from concurrent.futures import CancelledError
from typing import Any

import pytest

from coyo_tools.stages.crew import Crew


def test_results_come_in_order_and_few_are_in_hand() -> None:
    in_hand, most = 0, 0
    lock = threading.Lock()

    def items() -> Any:
        nonlocal in_hand, most
        for number in range(60):
            with lock:
                in_hand += 1
                most = max(most, in_hand)
            yield number

    def slow(number: int) -> int:
        time.sleep(0.002 * (number % 3))
        return number

    with Crew(4, None) as crew:
        for expected, found in enumerate(crew.in_order(slow, items(), ahead=7)):
            assert found == expected
            with lock:
                in_hand -= 1
    assert most <= 8


def test_an_error_in_a_thread_is_the_callers() -> None:
    def fails(number: int) -> int:
        if number == 3:
            raise LookupError("three")
        return number

    with Crew(2, None) as crew, pytest.raises(LookupError, match="three"):
        list(crew.in_order(fails, range(10), ahead=4))


def test_batches_that_wait_are_few() -> None:
    """Two run and two wait: a fifth is not taken before one has ended."""
    go = threading.Event()
    with Crew(2, None) as crew:
        given = [crew.give(go.wait) for _ in range(4)]
        fifth = threading.Thread(target=lambda: given.append(crew.give(go.wait)))
        fifth.start()
        fifth.join(0.2)
        assert fifth.is_alive()
        assert len(given) == 4
        go.set()
        fifth.join(10)
        assert [future.result(10) for future in given] == [True] * 5


def test_what_waits_at_the_end_is_dropped() -> None:
    go = threading.Event()
    with Crew(1, None) as crew:
        running, waiting = crew.give(go.wait), crew.give(go.wait)
        threading.Timer(0.1, go.set).start()
    assert running.result() is True
    with pytest.raises(CancelledError):
        waiting.result()


def test_models_on_the_cpu_compute_on_one_core_each() -> None:
    torch = pytest.importorskip("torch", reason="needs the score extra")
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with Crew(2, None) as crew:
            assert crew.give(torch.get_num_threads).result() == 2
        with Crew(2, "cpu") as crew:
            assert crew.give(torch.get_num_threads).result() == 1
    finally:
        torch.set_num_threads(before)


def test_beside_a_gpu_batches_have_threads_of_their_own() -> None:
    def name() -> str:
        return threading.current_thread().name

    with Crew(1, "cuda:0") as crew:
        assert crew.give(name).result().startswith("model")
        assert crew.give_to_cores(name).result().startswith("score")
        assert next(crew.in_order(lambda _: name(), [0], 1)).startswith("score")
