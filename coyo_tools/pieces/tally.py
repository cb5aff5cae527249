"""What one worker of a download has done since it last told."""

from __future__ import annotations

from collections import Counter
from typing import Any


class Tally:
    """Counts rows, bytes, failures and what hosts took, until they are taken. Of one thread."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._rows = self._successes = self._bytes = 0
        self._errors: Counter[str] = Counter()
        self._hosts: dict[str, tuple[int, float]] = {}

    def add(self, rows: int, error: str | None, fetched_bytes: int) -> None:
        """So many rows are done with, by one body or none. error: None for a success."""
        self._rows += rows
        self._bytes += fetched_bytes
        if error is None:
            self._successes += rows
        else:
            self._errors[error] += rows

    def asked(self, host: str, seconds: float) -> None:
        """A host was asked once, and that took so long."""
        times, before = self._hosts.get(host, (0, 0.0))
        self._hosts[host] = times + 1, before + seconds

    def take(self) -> dict[str, Any] | None:
        """rows, successes, bytes, errors (rows by class) and hosts (times asked and seconds by
        host) since the last time; None where nothing happened."""
        if not self._rows and not self._hosts:
            return None
        taken = {
            "rows": self._rows,
            "successes": self._successes,
            "bytes": self._bytes,
            "errors": dict(self._errors),
            "hosts": self._hosts,
        }
        self._clear()
        return taken
