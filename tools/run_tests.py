"""Every test, by two pytest processes side by side; with arguments one, which gets them.

    python tools/run_tests.py [ARGUMENT OF PYTEST ...]

Many tests wait for processes, servers and clocks, so that two processes take little more than half
the time of one on two cores. The first has the tests that run whole commands, and is heard as it
goes; what the second prints follows when both are done.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

TESTS = Path(__file__).parents[1] / "tests"
WHOLE_COMMANDS = ("verbs", "faults")
PYTEST = (sys.executable, "-m", "pytest")


def main(arguments: Sequence[str]) -> int:
    """pytest's exit status, of two processes the worse one's."""
    if arguments:
        return subprocess.run([*PYTEST, *arguments], check=False).returncode
    first, rest = halves()
    with tempfile.TemporaryFile() as said:
        # A folder of its own for what pytest remembers: `--lf` goes by the first's.
        command = [*PYTEST, "-o", "cache_dir=.pytest_cache/rest", *rest]
        second = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
        try:
            status = subprocess.run([*PYTEST, *first], check=False).returncode
        finally:  # Ctrl-C reaches both
            other = second.wait()
            said.seek(0)
            sys.stdout.flush()
            shutil.copyfileobj(said, sys.stdout.buffer)
    return status or other


def halves() -> tuple[list[str], list[str]]:
    """What each process is given: folders, and files beside them, relative to the checkout."""
    given = [p for p in sorted(TESTS.iterdir()) if p.match("test_*.py") or any(p.rglob("test_*"))]
    names = [str(path.relative_to(TESTS.parent)) for path in given if path.suffix in ("", ".py")]
    first = [f"{TESTS.name}/{name}" for name in WHOLE_COMMANDS]
    return first, [name for name in names if name not in first]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
