"""A tiny or read-only file system for one test; skipped where mounting is not permitted."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def mounted(at: Path, options: str) -> Iterator[Path]:
    """A tmpfs at `at`, for as long as the block lasts."""
    at.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(at)], capture_output=True, text=True
    )
    if done.returncode != 0:
        pytest.skip(f"needs the right to mount a tmpfs: {done.stderr.strip()}")
    try:
        yield at
    finally:
        subprocess.run(["umount", "-l", str(at)], check=True)


def remount(at: Path, options: str) -> None:
    """Change the options of a file system that `mounted` made."""
    subprocess.run(["mount", "-o", f"remount,{options}", str(at)], check=True)
