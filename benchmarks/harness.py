"""Time whole processes side by side: wall clock, CPU and peak memory, medians.

The benchmarks beside this file share it, so that their figures mean the same. Runs are
interleaved (a, b, c, a, b, c, ...) so that a slow minute of the machine hits everybody.
"""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Run:
    """One process and its reaped children. Seconds and MB (10^6 bytes).

    peak_rss_mb is that of the largest single process, as the kernel reports it.
    """

    wall_s: float
    cpu_s: float
    peak_rss_mb: float


@dataclass(frozen=True)
class Spread:
    """Median, smallest and largest of several runs."""

    median: float
    min: float
    max: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of at least one value."""
        return cls(statistics.median(values), min(values), max(values))

    def text(self, digits: int = 2) -> str:
        """`1.23 (1.20 to 1.31)`."""
        return f"{self.median:.{digits}f} ({self.min:.{digits}f} to {self.max:.{digits}f})"


@dataclass(frozen=True)
class Figures:
    """What one command cost over all its runs."""

    wall_s: Spread
    cpu_s: Spread
    peak_rss_mb: Spread
    runs: tuple[Run, ...]

    @classmethod
    def of(cls, runs: Sequence[Run]) -> Figures:
        """Medians over the runs."""
        return cls(
            Spread.of([r.wall_s for r in runs]),
            Spread.of([r.cpu_s for r in runs]),
            Spread.of([r.peak_rss_mb for r in runs]),
            tuple(runs),
        )


def compare(
    commands: Mapping[str, Sequence[str]],
    runs: int = 5,
    warmup: int = 1,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    *,
    before: Callable[[str], None] | None = None,
    timeout_s: float = 1800,
) -> dict[str, Figures]:
    """Run every command `warmup` + `runs` times, interleaved; the warm-ups do not count.

    env is added to this process's environment. before(name) runs ahead of each start, outside the
    clock: the place to remove an earlier output. Raises RuntimeError with the end of what the
    command printed where one fails.
    """
    seen: dict[str, list[Run]] = {name: [] for name in commands}
    for turn in range(warmup + runs):
        for name, command in commands.items():
            if before is not None:
                before(name)
            run = run_once(command, env=env, cwd=cwd, timeout_s=timeout_s)
            if turn >= warmup:
                seen[name].append(run)
    return {name: Figures.of(each) for name, each in seen.items()}


def run_once(
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    timeout_s: float = 1800,
) -> Run:
    """One process from start to exit. Raises RuntimeError where it fails or takes too long."""
    with tempfile.TemporaryFile() as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            start_new_session=True,
        )
        status, usage = _wait(process.pid, timeout_s)
        wall_s = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)  # we reaped it, not Popen
        if process.returncode:
            output.seek(max(0, output.tell() - 4000))
            said = output.read().decode(errors="replace")
            raise RuntimeError(f"{' '.join(command)}: exit {process.returncode}\n{said}")
    scale = 1e6 if platform.system() == "Darwin" else 1e3  # ru_maxrss: bytes there, KiB here
    peak_mb = usage.ru_maxrss / scale * (1 if platform.system() == "Darwin" else 1.024)
    return Run(wall_s, usage.ru_utime + usage.ru_stime, peak_mb)


def _wait(pid: int, timeout_s: float) -> tuple[int, Any]:
    """os.wait4 with a deadline, after which the command's whole session is killed."""

    def too_late(*_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)

    earlier = signal.signal(signal.SIGALRM, too_late)
    signal.setitimer(signal.ITIMER_REAL, timeout_s)
    try:
        _, status, usage = os.wait4(pid, 0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, earlier)
    return status, usage


def markdown_table(
    figures: Mapping[str, Figures],
    *,
    amount: Mapping[str, float] | float | None = None,
    unit: str = "rows",
) -> str:
    """A GitHub table of medians (smallest to largest). amount: how many `unit` each handled."""
    rate = amount is not None
    lines = [
        f"| | {f'{unit}/s | ' if rate else ''}wall s | CPU s | peak MB |",
        f"|---|{'---:|' if rate else ''}---:|---:|---:|",
    ]
    for name, figure in figures.items():
        done = amount[name] if isinstance(amount, Mapping) else amount
        cells = [f"{done / figure.wall_s.median:,.0f}"] if done is not None else []
        cells += [figure.wall_s.text(), figure.cpu_s.text(), figure.peak_rss_mb.text(0)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def machine() -> str:
    """`AMD EPYC, 2 cores, 25 GB, Linux 6.1, Python 3.11.2`: what the figures depend on."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    kernel = ".".join(platform.release().split(".")[:2])
    return (
        f"{_cpu_model()}, {cores} cores, {memory:.0f} GB, "
        f"{platform.system()} {kernel}, Python {platform.python_version()}"
    )


def _cpu_model() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def versions(*packages: str) -> str:
    """`polars 2.1.0, duckdb 2.0.0`, those that are installed."""
    from importlib.metadata import PackageNotFoundError, version

    found = []
    for package in packages:
        with contextlib.suppress(PackageNotFoundError):
            found.append(f"{package} {version(package)}")
    return ", ".join(found)


RESULTS = Path(__file__).with_name("RESULTS.md")
_HEAD = """# Results

Written by the scripts of this folder; `make bench` runs them all. Medians, smallest and largest in
brackets; the commands of one table ran interleaved, as whole processes.
"""


def write_section(title: str, body: str, path: Path = RESULTS) -> None:
    """Put `body` under `## title` in RESULTS.md; an earlier section of that title is replaced.

    body: say in it on which `machine()` and with which `versions()` it was measured.
    """
    text = path.read_text(encoding="utf-8") if path.exists() else _HEAD
    head, *sections = text.split("\n## ")
    bodies = dict(section.split("\n", 1) for section in sections)
    bodies[title] = f"\n{body.strip()}\n"
    parts = [head.rstrip() + "\n", *(f"## {name}\n{bodies[name]}" for name in sorted(bodies))]
    path.write_text("\n".join(part.rstrip() + "\n" for part in parts), encoding="utf-8")
