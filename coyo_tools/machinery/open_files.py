"""How many files and connections a process may have open: the system's limit."""

from __future__ import annotations

import contextlib

BESIDE = 128  # that a process has open beside what its work asks for: shards, pipes, name servers


def most() -> int | None:
    """How many a process may allow itself (`ulimit -Hn`); None without limit, or on Windows."""
    try:
        import resource
    except ImportError:
        return None
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return None if hard == resource.RLIM_INFINITY else hard


def allow(wanted: int) -> None:
    """Let this process have so many open, as far as the system lets it: shells often begin with
    1,024, or 256."""
    try:
        import resource
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft in (resource.RLIM_INFINITY, hard) or soft >= wanted:
        return
    least = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    with contextlib.suppress(ValueError, OSError):  # a kernel may have a limit of its own
        resource.setrlimit(resource.RLIMIT_NOFILE, (least, hard))
