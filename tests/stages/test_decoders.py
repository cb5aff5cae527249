"""Processes that decode: the same values as threads, and what becomes of everybody who dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coyo_tools.machinery.shared_memory import SharedMemory
from coyo_tools.stages import decoders
from coyo_tools.stages.decoders import Decoders
from coyo_tools.stages.score_table import Panel, Prepared, Row
from coyo_tools.words.errors import EngineError
from coyo_tools.words.failures import Failure
from tests.stages import panels


def prepared(
    rows: Sequence[Row], processes: int = 2, ahead: int = 8, panel: Panel | None = None
) -> list[Prepared]:
    panel = panel or panels.whole()
    with Decoders(panels.whole, processes) as made:
        return list(made.in_order(panel, iter(rows), ahead))


def assert_alike(found: Sequence[Prepared], expected: Sequence[Prepared]) -> None:
    assert [each.row for each in found] == [each.row for each in expected]
    assert [each.failure for each in found] == [each.failure for each in expected]
    for (mine,), (other,) in zip(*([e.ready for e in x] for x in (found, expected)), strict=True):
        assert (mine is None) == (other is None)
        if mine is not None:
            assert np.array_equal(mine[0], other[0])
            assert mine[1] == other[1]


@pytest.mark.parametrize("processes", [1, 2])
def test_the_same_as_in_this_process_in_order(processes: int) -> None:
    captions: list[Any] = [f"caption {n}" for n in range(45)]
    captions[9], captions[20] = None, "failure of this row"
    rows = panels.rows(captions)
    rows[3] = Row("3", 3, "a", rows[3].picture[:-200])  # type: ignore[index]
    rows[4] = Row("4", 4, "a", b"<html>")
    rows[11] = panels.rows(["large"], size=(1800, 1300))[0]
    rows[30] = Row("30", 30, "no picture")
    panel = panels.whole()
    expected = [panel.prepare(row) for row in rows if row.picture]
    spent = panel.clock.take()
    found = prepared([row for row in rows if row.picture], processes, panel=panel)
    assert_alike(found, expected)
    assert [e.failure.error for e in found if e.failure] == [
        "corrupt_image",
        "not_an_image",
        "too_many_pixels",
    ]
    assert panel.clock.take().keys() == spent.keys() == {"decode", "pixels"}


def test_few_rows_are_in_hand() -> None:
    taken = 0

    def rows() -> Any:
        nonlocal taken
        for row in panels.rows([f"caption {n}" for n in range(120)]):
            taken += 1
            yield row

    with Decoders(panels.whole, 2) as made:
        for given, _ in enumerate(made.in_order(panels.whole(), rows(), ahead=8)):
            assert taken - given <= 8 + 2 * decoders._EACH * decoders.ROWS + decoders.ROWS


def test_shards_follow_one_another_also_where_one_is_left_early() -> None:
    rows = panels.rows([f"caption {n}" for n in range(40)])
    panel = panels.whole()
    with Decoders(panels.whole, 2) as made:
        first = made.in_order(panel, rows, 8)
        next(first)
        del first
        for part in (rows[:3], [], rows):
            assert_alike(list(made.in_order(panel, part, 8)), [panel.prepare(row) for row in part])


def test_a_bug_and_what_cannot_be_handed_over_end_the_run() -> None:
    with pytest.raises(EngineError, match="LookupError: three") as raised:
        prepared(panels.rows(["a", "b", "raise three", "d"]))
    assert "in prepare" in raised.value.details
    with pytest.raises(EngineError, match=r"--decode-in: what a .*pickle.*; use --decode-in thr"):
        prepared(panels.rows(["a", "unpicklable"]))


@pytest.mark.parametrize(
    ("load", "said"),
    [
        (panels.fails_to_load, "LookupError: no such panel"),
        (panels.dies_at_start, r"processes that decode die at their start \(exit 3\)"),
    ],
)
def test_processes_that_do_not_start(load: Any, said: str) -> None:
    with Decoders(load, 2) as made, pytest.raises(EngineError, match=said):
        list(made.in_order(panels.whole(), panels.rows(["a"]), 8))


def test_a_decoder_that_crashes_costs_its_rows_alone() -> None:
    captions = [f"caption {n}" for n in range(40)]
    whole = panels.rows(captions)
    rows = list(whole)
    for n in (0, 17):
        rows[n] = replace(rows[n], caption=f"die {int(signal.SIGSEGV)}")
    found = prepared(rows)
    panel = panels.whole()
    expected = [panel.prepare(row) for row in whole]
    crashed = Failure("decoder_crashed", "exit -11")
    for n in (0, 17):
        assert found[n].ready == (None,)
        expected[n] = Prepared(expected[n].row, (None,), crashed)
    assert_alike(found, expected)


def test_killed_once_its_rows_go_to_another(tmp_path: Path) -> None:
    captions = [f"caption {n}" for n in range(30)]
    captions[12] = f"die-once {tmp_path / 'died'}"
    found = prepared(panels.rows(captions))
    assert [each.ready[0][1] for each in found] == captions


def test_killed_again_and_again_no_picture_is_blamed() -> None:
    captions = ["a", "b", f"die {int(signal.SIGKILL)}"]
    with pytest.raises(EngineError, match=r"killed twice, at 2; run the same command again, with"):
        prepared(panels.rows(captions))


def test_none_is_left_where_the_worker_is_killed() -> None:
    code = "from tests.stages.panels import decode_slowly; decode_slowly()"
    worker = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert worker.stdin is not None
    assert worker.stdout is not None
    pids = [int(word) for word in worker.stdout.readline().split()]
    assert len(pids) == 2
    assert all(_runs(pid) for pid in pids)
    worker.kill()
    worker.wait()
    worker.stdin.close()
    worker.stdout.close()
    deadline = time.monotonic() + 20
    while any(_runs(pid) for pid in pids):
        assert time.monotonic() < deadline, "a process has outlived its worker"
        time.sleep(0.05)


def test_none_is_left_at_the_end_even_of_those_that_hang() -> None:
    with Decoders(panels.whole, 2) as made:
        found = made.in_order(panels.whole(), panels.rows(["a", "b"] * 8 + ["sleep 600"]), 0)
        assert next(found).row.key == "0"
        pids = [each.process.pid for each in made._running]
    assert not any(_runs(pid) for pid in pids)


def _runs(pid: int) -> bool:
    """Whether it is there and no zombie, which waits for a parent to ask of it."""
    try:
        os.kill(pid, 0)
        stat = Path(f"/proc/{pid}/stat")
        return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_pictures_are_lent_and_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many more rows than there is memory for, with some of them held for good."""
    taken: list[bool] = []
    take = SharedMemory.take
    monkeypatch.setattr(
        SharedMemory,
        "take",
        lambda self, sizes, lent=None: taken.append(lent is not None) or take(self, sizes, lent),
    )
    rows = panels.rows([f"caption {n}" for n in range(400)])
    panel = panels.whole()
    with Decoders(panels.whole, 1) as made:
        kept = list(made.in_order(panel, rows, 8))
        assert taken.count(True) == decoders._LENT  # all that may be, and none of it came back
        assert taken.count(False) == 400 // decoders.ROWS - decoders._LENT
        assert_alike(kept, [panel.prepare(row) for row in rows])
        del kept
        taken.clear()
        for _ in made.in_order(panel, rows, 8):
            pass
        assert taken.count(False) == 0
