"""Processes whose calls do not end; real ones."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from coyo_tools.machinery.watchdog import bounded, how_it_ended

_PROGRAM = """
import os, signal, sys, threading, time
from coyo_tools.machinery import watchdog
watchdog.LONGEST_S = {longest_s}
def sleep(seconds, patience=1.0):
    with watchdog.bounded(patience):
        print("begun", flush=True)
        time.sleep(seconds)
{code}
"""


def run(code: str, longest_s: float = 2.0) -> subprocess.Popen[str]:
    program = _PROGRAM.format(code=code, longest_s=longest_s)
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)


def status(process: subprocess.Popen[str]) -> str:
    with process:
        return how_it_ended(process.wait(30))


@pytest.mark.parametrize(
    "code",
    [
        "sleep(60)",
        "sleep(0.1); sleep(60)",
        # others that end in time do not help it
        "threading.Thread(target=sleep, args=(60,)).start()\nwhile True: sleep(0.1)",
    ],
)
def test_a_call_that_does_not_end_ends_the_process(code: str) -> None:
    assert status(run(code)) == "does not end"


@pytest.mark.parametrize(
    "code",
    [
        "for _ in range(5): sleep(1)",
        "sleep(5, patience=4)",
        "try:\n with watchdog.bounded(): raise ValueError\nexcept ValueError: time.sleep(5)",
    ],
)
def test_calls_that_end_do_not(code: str) -> None:
    assert status(run(code)) == "exit 0"


def test_no_time_goes_by_while_the_process_is_stopped() -> None:
    process = run("with watchdog.bounded(): os.kill(os.getpid(), signal.SIGSTOP)", longest_s=4.0)
    _, stopped = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(stopped)
    time.sleep(6)
    os.kill(process.pid, signal.SIGCONT)
    assert status(process) == "exit 0"


def test_errors_go_through() -> None:
    with pytest.raises(ValueError, match="mine"), bounded():
        raise ValueError("mine")
