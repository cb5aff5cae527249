"""Work for the engine's tests, in a module of its own so that workers start fast."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coyo_tools.machinery.engine import Emit
from coyo_tools.words.errors import CorruptFile

Pairs = Iterable[tuple[Any, Any]]


def squares(units: Iterator[int], emit: Emit) -> Pairs:
    for unit in units:
        yield unit, unit * unit


def trim_thresholds(units: Iterator[int], emit: Emit) -> Pairs:
    """From what on glibc's allocator gives memory back, as the worker was told."""
    for unit in units:
        yield unit, os.environ.get("MALLOC_TRIM_THRESHOLD_")


def pids(units: Iterator[int], emit: Emit) -> Pairs:
    for unit in units:
        time.sleep(0.02)
        yield unit, os.getpid()


@dataclass(frozen=True)
class Labelled:
    """Says which work ran the unit; dies once, at its first unit, where asked to."""

    label: str
    die_once_in: str | None = None

    def __call__(self, units: Iterator[int], emit: Emit) -> Pairs:
        for unit in units:
            time.sleep(0.02)
            mark = Path(self.die_once_in or os.devnull, "died")
            if self.die_once_in and not mark.exists():
                mark.touch()
                os._exit(9)
            yield unit, self.label


def lengths(units: Iterator[bytes], emit: Emit) -> Pairs:
    for unit in units:
        yield unit, unit + unit


def ahead(units: Iterator[int], emit: Emit) -> Pairs:
    """Holds two units at a time and finishes them in the other order."""
    held: list[int] = []
    for unit in units:
        held.append(unit)
        if len(held) == 2:
            yield from ((u, -u) for u in reversed(held))
            held.clear()
    yield from ((u, -u) for u in held)


def reporting(units: Iterator[int], emit: Emit) -> Pairs:
    for unit in units:
        emit(("began", unit))
        yield unit, None


def chatty(units: Iterator[int], emit: Emit) -> Pairs:
    for unit in units:
        print("noise of a library", flush=True)
        yield unit, None


def forgetful(units: Iterator[int], emit: Emit) -> Pairs:
    """Takes every unit and answers the even ones alone."""
    for unit in units:
        if unit % 2 == 0:
            yield unit, None


def lazy(units: Iterator[int], emit: Emit) -> Pairs:
    """Ends after its first unit, although there are more."""
    yield next(units), None


def impostor(units: Iterator[int], emit: Emit) -> Pairs:
    next(units)
    yield "another", None


def unpicklable(units: Iterator[int], emit: Emit) -> Pairs:
    for unit in units:
        yield unit, lambda: None


@dataclass(frozen=True)
class Raising:
    """Raises at one unit."""

    error: BaseException
    at: int

    def __call__(self, units: Iterator[int], emit: Emit) -> Pairs:
        for unit in units:
            if unit == self.at:
                raise self.error
            yield unit, None


def corrupt(where: str) -> Raising:
    return Raising(CorruptFile("is truncated", where=where, todo="fetch the file again"), 3)


@dataclass(frozen=True)
class Dying:
    """Kills its own process at the units named, `times` times each; counts in `folder`."""

    folder: str
    at: tuple[int, ...]
    times: int
    by: int = signal.SIGKILL

    def __call__(self, units: Iterator[int], emit: Emit) -> Pairs:
        for unit in units:
            if unit in self.at and self._deaths(unit) < self.times:
                Path(self.folder, f"{unit}-{time.monotonic_ns()}").touch()
                os.kill(os.getpid(), self.by)
            yield unit, os.getpid()

    def _deaths(self, unit: int) -> int:
        return len(list(Path(self.folder).glob(f"{unit}-*")))


@dataclass(frozen=True)
class DyingBetween:
    """Dies once after a finished unit, while it holds none."""

    folder: str

    def __call__(self, units: Iterator[int], emit: Emit) -> Pairs:
        mark = Path(self.folder, "died")
        for count, unit in enumerate(units):
            yield unit, unit
            if count == 1 and not mark.exists():
                mark.touch()
                os._exit(9)


@dataclass(frozen=True)
class DyingMidMessage:
    """Dies once with half of a large result in the pipe."""

    folder: str

    def __call__(self, units: Iterator[int], emit: Emit) -> Pairs:
        import threading

        mark = Path(self.folder, "died")
        for unit in units:
            if not mark.exists():
                mark.touch()
                threading.Timer(0.3, lambda: os._exit(9)).start()
                yield unit, bytes(200_000_000)
            yield unit, bytes(1)


@dataclass(frozen=True)
class LeavingAChild:
    """Dies once, leaving a child process that holds the pipe's end open."""

    folder: str

    def __call__(self, units: Iterator[int], emit: Emit) -> Pairs:
        mark = Path(self.folder, "child")
        for unit in units:
            if not mark.exists():
                child = subprocess.Popen(
                    [sys.executable, "-c", "import time; time.sleep(30)"], close_fds=False
                )
                mark.write_text(str(child.pid))
                os._exit(9)
            yield unit, unit


class DeadAtStart:
    """Cannot be unpickled without killing whoever tries."""

    def __reduce__(self) -> Any:
        return (os._exit, (7,))


class Broken:
    """Cannot be unpickled."""

    def __reduce__(self) -> Any:
        return (int, ("not a number",))


@dataclass(frozen=True)
class Beating:
    """Writes its pid and then beats for ever."""

    folder: str

    def __call__(self, units: Iterator[int], emit: Emit) -> Pairs:
        for unit in units:
            Path(self.folder, f"pid-{os.getpid()}").touch()
            while True:
                time.sleep(0.05)
            yield unit, None


def forked_threads(units: Iterator[int], emit: Emit) -> Pairs:
    """Events from several threads at once, each of many bytes."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as pool:
        for unit in units:
            list(pool.map(lambda i: emit((i, bytes([i]) * 50_000)), range(40)))
            yield unit, None
