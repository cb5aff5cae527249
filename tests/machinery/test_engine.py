"""The engine: every unit answered once, whatever happens to the workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coyo_tools.machinery import engine
from coyo_tools.machinery.fleet import Fleet
from coyo_tools.words.errors import CorruptFile, EngineError
from tests.machinery import works

EVERY_KIND = pytest.mark.parametrize("processes", [0, 1, 3])


@EVERY_KIND
def test_each_unit_comes_back_once_with_its_result(processes: int) -> None:
    pairs = list(engine.run(works.squares, range(20), processes=processes))
    assert sorted(pairs) == [(n, n * n) for n in range(20)]


@EVERY_KIND
def test_no_units_start_nothing(processes: int) -> None:
    assert list(engine.run(works.squares, [], processes=processes)) == []
    assert list(engine.run(works.squares, iter(()), processes=processes)) == []


def test_zero_processes_run_in_the_callers_process() -> None:
    assert dict(engine.run(works.pids, [1], processes=0)) == {1: os.getpid()}


def test_several_processes_share_the_units() -> None:
    used = {pid for _, pid in engine.run(works.pids, range(40), processes=2)}
    assert len(used) == 2
    assert os.getpid() not in used


def test_each_worker_runs_a_work_of_its_own() -> None:
    each = [works.Labelled("first"), works.Labelled("second")]
    found = dict(engine.run_each(each, range(40)))
    assert set(found) == set(range(40))
    assert set(found.values()) == {"first", "second"}


def test_the_replacement_of_a_dead_worker_runs_the_same_work(tmp_path: Path) -> None:
    each = [works.Labelled("first", die_once_in=str(tmp_path)), works.Labelled("second")]
    found = dict(engine.run_each(each, range(150)))
    assert set(found) == set(range(150))
    assert (tmp_path / "died").exists()
    assert "first" in found.values()


def test_no_more_workers_than_units() -> None:
    fleet = Fleet([works.squares], [1, 2], lambda _: None)
    try:
        results = fleet.run(8)
        next(results)
        assert len(fleet._workers) <= 2
    finally:
        fleet.stop()


def test_units_are_pulled_as_they_are_wanted() -> None:
    taken = []

    def source() -> Iterator[int]:
        for unit in range(1000):
            taken.append(unit)
            yield unit

    results = engine.run(works.squares, source(), processes=1)
    next(results)
    results.close()
    assert len(taken) < 20


@EVERY_KIND
def test_a_work_may_hold_several_units_and_finish_them_in_any_order(processes: int) -> None:
    pairs = dict(engine.run(works.ahead, range(7), processes=processes))
    assert pairs == {n: -n for n in range(7)}


@EVERY_KIND
def test_equal_units_are_answered_each(processes: int) -> None:
    assert sorted(engine.run(works.squares, [2, 2, 2], processes=processes)) == [(2, 4)] * 3


@EVERY_KIND
def test_events_reach_the_caller(processes: int) -> None:
    heard = []
    list(engine.run(works.reporting, range(5), processes=processes, on_event=heard.append))
    assert sorted(heard) == [("began", n) for n in range(5)]


def test_events_of_many_threads_arrive_whole() -> None:
    heard = []
    list(engine.run(works.forked_threads, [0], processes=1, on_event=heard.append))
    assert len(heard) == 40
    assert all(data == bytes([i]) * 50_000 for i, data in heard)


@settings(max_examples=8, deadline=None)
@given(st.lists(st.binary(max_size=300_000), max_size=6), st.integers(1, 3))
def test_any_bytes_pass_both_ways(units: list[bytes], processes: int) -> None:
    results = sorted(engine.run(works.lengths, units, processes=processes))
    assert results == sorted((u, u + u) for u in units)


# What a work raises.


@EVERY_KIND
def test_a_named_error_arrives_whole(processes: int) -> None:
    with pytest.raises(CorruptFile) as caught:
        list(engine.run(works.corrupt("a.parquet"), range(5), processes=processes))
    assert str(caught.value) == "a.parquet: is truncated; fetch the file again"


@EVERY_KIND
def test_any_other_error_becomes_an_engine_error_with_its_traceback(processes: int) -> None:
    with pytest.raises(EngineError, match="ValueError: seven") as caught:
        list(engine.run(works.Raising(ValueError("seven"), 2), range(5), processes=processes))
    assert "works.py" in caught.value.details


@pytest.mark.parametrize("error", [EOFError("short read"), ConnectionResetError("by peer")])
def test_the_works_own_end_of_file_is_not_taken_for_the_parents_end(error: Exception) -> None:
    with pytest.raises(EngineError, match=type(error).__name__):
        list(engine.run(works.Raising(error, 1), range(3), processes=1))


def test_a_result_that_cannot_be_pickled_is_told() -> None:
    with pytest.raises(EngineError, match="lambda"):
        list(engine.run(works.unpicklable, [1], processes=1))


def test_a_work_that_cannot_be_unpickled_is_told() -> None:
    with pytest.raises(EngineError, match="not a number"):
        list(engine.run(works.Broken(), [1], processes=2))


@EVERY_KIND
@pytest.mark.parametrize("work", [works.forgetful, works.lazy])
def test_a_work_that_leaves_units_unanswered_is_told(work: object, processes: int) -> None:
    with pytest.raises(EngineError, match="without a result"):
        list(engine.run(work, range(9), processes=processes))


def test_a_result_for_a_unit_that_was_not_given_is_told() -> None:
    with pytest.raises(EngineError, match="does not hold"):
        list(engine.run(works.impostor, [1], processes=1))


# Workers that die.


@pytest.mark.parametrize("processes", [1, 2])
def test_the_units_of_a_killed_worker_go_to_another(tmp_path: Path, processes: int) -> None:
    work = works.Dying(str(tmp_path), at=(0, 4, 9), times=2)
    assert sorted(u for u, _ in engine.run(work, range(10), processes=processes)) == [*range(10)]
    assert len(list(tmp_path.iterdir())) == 6


def test_a_unit_that_kills_every_worker_ends_the_run_and_is_named(tmp_path: Path) -> None:
    work = works.Dying(str(tmp_path), at=(3,), times=99, by=signal.SIGSEGV)
    with pytest.raises(EngineError, match=r"died 3 times \(exit -11\) on 3"):
        list(engine.run(work, range(5), processes=2))
    assert len(list(tmp_path.iterdir())) == 3


def test_a_worker_that_dies_between_two_units_loses_none(tmp_path: Path) -> None:
    pairs = engine.run(works.DyingBetween(str(tmp_path)), range(6), processes=1)
    assert sorted(u for u, _ in pairs) == [*range(6)]
    assert (tmp_path / "died").exists()


def test_a_worker_that_dies_in_the_middle_of_a_message_loses_none(tmp_path: Path) -> None:
    done = engine.run(works.DyingMidMessage(str(tmp_path)), range(2), processes=1)
    assert sorted(u for u, _ in done) == [0, 1]
    assert (tmp_path / "died").exists()


def test_a_dead_worker_whose_child_holds_the_pipe_is_noticed(tmp_path: Path) -> None:
    try:
        done = engine.run(works.LeavingAChild(str(tmp_path)), range(3), processes=1)
        assert sorted(u for u, _ in done) == [0, 1, 2]
        assert _alive(int((tmp_path / "child").read_text()))
    finally:
        os.kill(int((tmp_path / "child").read_text()), signal.SIGKILL)


def test_workers_that_die_at_their_start_end_the_run() -> None:
    with pytest.raises(EngineError, match=r"die at their start \(exit 7\)"):
        list(engine.run(works.DeadAtStart(), range(3), processes=2))


# Manners.


def test_what_a_worker_prints_goes_to_stderr() -> None:
    script = (
        "from coyo_tools.machinery.engine import run; from tests.machinery.works import chatty\n"
        "print(len(list(run(chatty, [1], processes=1))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=_root()
    )
    assert done.stdout == "1\n"
    assert done.stderr == "noise of a library\n"


def test_a_caller_without_a_main_guard_needs_none(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(_root())!r})\n"
        "from coyo_tools.machinery.engine import run\n"
        "from tests.machinery.works import squares\n"
        "print(sorted(run(squares, [1, 2, 3], processes=2)))\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout == "[(1, 1), (2, 4), (3, 9)]\n"


def test_a_caller_that_stops_listening_leaves_no_worker(tmp_path: Path) -> None:
    results = engine.run(works.pids, range(100), processes=2)
    pids = {next(results)[1] for _ in range(10)}
    results.close()
    assert pids
    assert not any(_alive(pid) for pid in pids)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_workers_end_when_the_parent_does(tmp_path: Path, how: int) -> None:
    script = (
        "from coyo_tools.machinery.engine import run; from tests.machinery.works import Beating\n"
        f"list(run(Beating({str(tmp_path)!r}), [1, 2], processes=2))"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script], cwd=_root(), stderr=subprocess.DEVNULL
    )
    pids = _wait_for(lambda: [int(p.name[4:]) for p in tmp_path.glob("pid-*")], count=2)
    parent.send_signal(how)
    parent.wait(10)
    _wait_for(lambda: [pid for pid in pids if not _alive(pid)], count=2)


def _root() -> Path:
    return Path(__file__).parents[2]


def _alive(pid: int) -> bool:
    """Whether the process runs; one that is dead and not yet reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _wait_for(found: object, *, count: int, at_most_s: float = 15.0) -> list[int]:
    end = time.monotonic() + at_most_s
    while time.monotonic() < end:
        values = found()
        if len(values) >= count:
            return values
        time.sleep(0.05)
    raise AssertionError(f"fewer than {count} after {at_most_s} s")


def test_cores_are_told_also_where_the_system_knows_no_affinity(monkeypatch):
    assert engine.cores() >= 1
    monkeypatch.delattr(engine.os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(engine.os, "cpu_count", lambda: None)
    assert engine.cores() == 1


@pytest.mark.parametrize("own", [None, "131072"])
def test_workers_keep_freed_memory_unless_the_user_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, own: str | None
) -> None:
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    if own:
        monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", own)
    found = dict(engine.run(works.trim_thresholds, [1, 2], processes=2))
    assert set(found.values()) == {own or str(128 << 20)}
    assert os.environ.get("MALLOC_TRIM_THRESHOLD_") == own
