"""The stopwatch of the benchmarks: what it measures, and that a failing command is no figure."""

from __future__ import annotations

import sys

import pytest

from benchmarks import harness


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_wall_cpu_and_memory_are_those_of_the_process():
    figures = harness.compare(
        {
            "sleeps": python("import time; time.sleep(0.3)"),
            "works": python("import time\nwhile time.process_time() < 0.3: pass"),
            "holds": python("held = bytearray(200_000_000)"),
        },
        runs=1,
        warmup=0,
    )
    assert figures["sleeps"].wall_s.median >= 0.3
    assert figures["sleeps"].cpu_s.median < 0.3
    assert figures["works"].cpu_s.median >= 0.3
    assert figures["holds"].peak_rss_mb.median >= 200
    assert figures["sleeps"].peak_rss_mb.median < 200


def test_runs_are_interleaved_and_warm_ups_do_not_count():
    order = []
    commands = {"a": python("pass"), "b": python("pass")}
    figures = harness.compare(commands, runs=2, warmup=1, before=order.append)
    assert order == ["a", "b", "b", "a", "b", "a"]
    assert [len(each.runs) for each in figures.values()] == [2, 2]


def test_each_turn_begins_with_another_command_and_every_other_goes_backwards():
    turns = ["".join(harness.in_turn(list("abc"), turn)) for turn in range(6)]
    assert turns == ["abc", "cba", "bca", "acb", "cab", "bac"]


def test_environment_and_folder_reach_the_command(tmp_path):
    check = "import os; assert os.environ['A'] == '1'; open('here', 'w')"
    harness.run_once(python(check), env={"A": "1"}, cwd=tmp_path)
    assert (tmp_path / "here").exists()


def test_a_command_that_fails_or_hangs_is_told_with_its_last_words():
    with pytest.raises(RuntimeError, match="exit 3") as caught:
        harness.run_once(python("import sys; print('last words'); sys.exit(3)"))
    assert "last words" in str(caught.value)
    with pytest.raises(RuntimeError, match="exit -9"):
        harness.run_once(python("import time; time.sleep(30)"), timeout_s=0.5)


def test_the_table_has_rates_where_the_amount_is_known():
    spread = harness.Spread(2.0, 1.5, 3.0)
    figures = {"coyo": harness.Figures(spread, spread, harness.Spread(100, 90, 110), ())}
    assert harness.markdown_table(figures, amount=1000).splitlines() == [
        "| | rows/s | wall s | CPU s | peak MB |",
        "|---|---:|---:|---:|---:|",
        "| coyo | 500 | 2.00 (1.50 to 3.00) | 2.00 (1.50 to 3.00) | 100 (90 to 110) |",
    ]
    assert "rows/s" not in harness.markdown_table(figures)


def test_the_machine_is_named_without_its_host_name():
    import socket

    assert "cores" in harness.machine()
    assert socket.gethostname() not in harness.machine()
