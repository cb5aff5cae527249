"""Time whole processes side by side: wall clock, CPU and peak memory, medians.

The benchmarks beside this file share it, so that their figures mean the same. Runs are
interleaved (a, b, c, a, b, c, ...) so that a slow minute of the machine hits everybody.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


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

    Each turn begins with another command, and every other one goes backwards: what a command leaves
    behind (pages to be written, warm caches) is not always the same one's to bear.
    env is added to this process's environment. before(name) runs ahead of each start, outside the
    clock: the place to remove an earlier output. Raises RuntimeError with the end of what the
    command printed where one fails.
    """
    seen: dict[str, list[Run]] = {name: [] for name in commands}
    for turn in range(warmup + runs):
        for name in in_turn(list(commands), turn):
            if before is not None:
                before(name)
            run = run_once(commands[name], env=env, cwd=cwd, timeout_s=timeout_s)
            if turn >= warmup:
                seen[name].append(run)
    return {name: Figures.of(each) for name, each in seen.items()}


def in_turn(names: list[str], turn: int) -> list[str]:
    """The order of one turn."""
    first = turn // 2 % len(names)
    order = names[first:] + names[:first]
    return order[::-1] if turn % 2 else order


def run_once(
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    timeout_s: float = 1800,
) -> Run:
    """One process from start to exit. Raises RuntimeError where it fails or takes too long."""
    reading, writing = os.pipe()
    with tempfile.TemporaryFile() as output, open(reading) as report:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(writing), *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**_without(os.environ, "PYTHONDONTWRITEBYTECODE"), **(env or {})},
            cwd=cwd,
            pass_fds=[writing],
            start_new_session=True,
        )
        os.close(writing)
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        said = report.read()
        status, *figures = json.loads(said) if said else [process.returncode or 1, 0, 0, 0]
        if status:
            output.seek(max(0, output.seek(0, os.SEEK_END) - 4000))
            words = output.read().decode(errors="replace")
            raise RuntimeError(f"{' '.join(command)}: exit {status}\n{words}")
    wall_s, cpu_s, peak = figures
    unit = 1 if platform.system() == "Darwin" else 1024  # ru_maxrss: bytes there, KiB here
    return Run(wall_s, cpu_s, peak * unit / 1e6)


def _without(env: Mapping[str, str], name: str) -> dict[str, str]:
    """Where it is set, a checkout is compiled at every start, and installed packages are not."""
    return {key: value for key, value in env.items() if key != name}


def family(pid: int) -> list[int]:
    """A process and all that descend from it, in whatever session they are (Linux)."""
    parents = {}
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            stat = (folder / "stat").read_text()
            parents[int(folder.name)] = int(stat.rpartition(")")[2].split()[1])
    found = [pid]
    for each in found:  # grows while it is read
        found += [child for child, parent in parents.items() if parent == each]
    return found


# The kernel counts to a new process the memory of the one that starts it, until it has become
# its own program: so a small interpreter starts the command, not whoever runs the benchmark.
_LAUNCHER = """
import json, os, sys, time
report, command = int(sys.argv[1]), sys.argv[2:]
os.set_inheritable(report, False)
started = time.perf_counter()
process = os.posix_spawnp(command[0], command, os.environ)
_, status, usage = os.wait4(process, 0)
wall_s = time.perf_counter() - started
cpu_s = usage.ru_utime + usage.ru_stime
figures = [os.waitstatus_to_exitcode(status), wall_s, cpu_s, usage.ru_maxrss]
os.write(report, json.dumps(figures).encode())
"""


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


OUT = Path(__file__).parent / "out"  # what benchmarks make; git ignores it


def metadata(files: int, rows: int, layout: int) -> Path:
    """The folder of generated metadata of so many files and rows a file, made once. layout: rows
    a row group."""
    folder = OUT / f"metadata-{files}x{rows}-{layout}"
    if not folder.exists():
        make = [sys.executable, str(Path(__file__).with_name("make_metadata.py"))]
        sizes = ["--files", files, "--rows", rows, "--row-group-rows", layout]
        making = folder.with_suffix(".making")
        shutil.rmtree(making, ignore_errors=True)
        run_once([*make, str(making), *map(str, sizes)])
        making.rename(folder)
    return folder


def size_options(parser: argparse.ArgumentParser, files: int) -> None:
    """The options that `metadata` and every benchmark over it take. files: the default."""
    parser.add_argument("--files", type=int, default=files)
    parser.add_argument("--rows", type=int, default=1_500_000, help="rows a file")
    parser.add_argument("--layout", type=int, default=650_000, help="rows a row group")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--dry-run", action="store_true", help="do not write RESULTS.md")


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
